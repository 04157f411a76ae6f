/*
 * A command that talks and knows its own life: talk FILE SECONDS EXIT LINES [TRICK]
 *
 * Writes CLOCK_MONOTONIC in nanoseconds to FILE, taken first thing; then, evenly over SECONDS, LINES times "out N" to
 * stdout and "err N" to stderr, each in one write; then the clock again as the last thing, and exits with EXIT.
 *
 * TRICK, before the first line: forks (makes 10,000 children that end at once and reaps them), daemon (leaves a process
 * in a session of its own that lives a second longer than this one). After the last line: closes (every descriptor),
 * group and slay (SIGTERM and SIGKILL to its process group, with the clock written before).
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SHORT_CHILDREN 10000

static int64_t monotonic_nanoseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void wait_until(int64_t end)
{
    struct timespec until = {.tv_sec = end / 1000000000, .tv_nsec = end % 1000000000};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL))
        ; /* stopped and continued: the rest of the time is still due */
}

static void note(const char *path, int64_t moment)
{
    char text[32];
    int length = snprintf(text, sizeof text, "%lld\n", (long long)moment);
    int file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (file < 0 || write(file, text, length) != length)
        _exit(120);
    close(file);
}

static void say(int descriptor, const char *word, int number)
{
    char text[64];
    int length = snprintf(text, sizeof text, "%s %d\n", word, number);
    if (write(descriptor, text, length) != length)
        _exit(121); /* nobody is to notice where it cannot be written, but SIGPIPE */
}

int main(int argc, char **argv)
{
    int64_t born = monotonic_nanoseconds();
    if (argc < 5 || argc > 6) {
        fprintf(stderr, "usage: talk FILE SECONDS EXIT LINES [TRICK]\n");
        return 2;
    }
    const char *trick = argc > 5 ? argv[5] : "";
    int64_t length = (int64_t)(atof(argv[2]) * 1e9);
    int lines = atoi(argv[4]);
    note(argv[1], born);
    if (!strcmp(trick, "forks"))
        for (int i = 0; i < SHORT_CHILDREN; i++) {
            pid_t child = fork();
            if (child < 0)
                _exit(122);
            if (child == 0)
                _exit(0);
            waitpid(child, NULL, 0);
        }
    if (!strcmp(trick, "daemon") && fork() == 0) {
        setsid();
        for (int i = 0; i < 3; i++)
            close(i);
        if (fork() == 0)
            wait_until(born + length + 1000000000);
        _exit(0);
    }
    for (int i = 0; i < lines; i++) {
        wait_until(born + length * i / lines);
        say(1, "out", i + 1);
        say(2, "err", i + 1);
    }
    wait_until(born + length);
    if (!strcmp(trick, "closes"))
        for (int i = 0; i < 4096; i++)
            close(i);
    note(argv[1], monotonic_nanoseconds());
    if (!strcmp(trick, "group"))
        kill(0, SIGTERM);
    if (!strcmp(trick, "slay"))
        kill(0, SIGKILL);
    _exit(atoi(argv[3]));
}
