/*
 * A command that knows its own life: stamp FILE SECONDS [EXIT [spin]]
 *
 * Writes CLOCK_MONOTONIC in nanoseconds to FILE, taken first thing, waits (or spins) for SECONDS, writes the clock
 * again as the last thing and exits with EXIT.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int64_t monotonic_nanoseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int main(int argc, char **argv)
{
    int64_t born = monotonic_nanoseconds();
    if (argc < 3 || argc > 5 || (argc == 5 && strcmp(argv[4], "spin"))) {
        fprintf(stderr, "usage: stamp FILE SECONDS [EXIT [spin]]\n");
        return 2;
    }
    FILE *file = fopen(argv[1], "w");
    if (!file) {
        perror(argv[1]);
        return 2;
    }
    fprintf(file, "%lld\n", (long long)born);
    fflush(file);
    int64_t end = born + (int64_t)(atof(argv[2]) * 1e9);
    struct timespec until = {.tv_sec = end / 1000000000, .tv_nsec = end % 1000000000};
    if (argc == 5)
        while (monotonic_nanoseconds() < end)
            ;
    else
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL))
            ; /* stopped and continued: the rest of the time is still due */
    fprintf(file, "%lld\n", (long long)monotonic_nanoseconds());
    fclose(file);
    return argc > 3 ? atoi(argv[3]) : 0;
}
