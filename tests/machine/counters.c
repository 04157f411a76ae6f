/*
 * Keeps the energy_uj files of a simulated powercap tree going: counters SPEC
 *
 * About every millisecond each counter gets the value that its profile has reached. A plain file cannot compute when
 * it is read, and readers keep it open, so the new value goes in place: 16 digits in one aligned 16-byte store to the
 * mapped page, which a reader sees whole or not at all, and which costs no system call.
 *
 * SPEC: "epoch NANOSECONDS", then for each counter "counter PATH", "span MICROJOULES", "initial MICROJOULES",
 * "reset_at T", "jump_at T", "frozen FROM UNTIL", "spoilt FROM UNTIL TEXT", "removed_at T" and "power ..." lines
 * (profile.h).
 * Writes "ready" to stdout when all counters show a value, ends when stdin does, and then tells the longest time
 * between two updates in seconds: beyond it the counters are no truth.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "profile.h"

#define MOST_COUNTERS 64
#define DIGITS 16
#define LENGTH (DIGITS + 1) /* and the newline */

typedef unsigned char digits __attribute__((vector_size(DIGITS)));

struct counter {
    char path[PATH_MAX];
    uint64_t span, initial;
    double reset_at, jump_at, frozen_from, frozen_until, spoilt_from, spoilt_until, removed_at;
    char spoilt_text[64];
    struct profile profile;

    int file;
    digits *page;
    enum { PLAIN, SPOILT, REMOVED } state;
};

static struct counter counters[MOST_COUNTERS];
static int counter_count;
static int64_t epoch_nanoseconds;

static void fail(const char *what)
{
    fprintf(stderr, "counters: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void read_spec(const char *path)
{
    char line[PATH_MAX + 64];
    struct counter *counter = NULL;
    FILE *spec = fopen(path, "r");
    if (!spec)
        fail(path);
    while (fgets(line, sizeof line, spec)) {
        line[strcspn(line, "\n")] = 0;
        if (sscanf(line, "epoch %" SCNd64, &epoch_nanoseconds) == 1)
            continue;
        if (!strncmp(line, "counter ", 8) && counter_count < MOST_COUNTERS) {
            counter = &counters[counter_count++];
            counter->reset_at = counter->jump_at = counter->removed_at = INFINITY;
            counter->frozen_from = counter->spoilt_from = INFINITY;
            sscanf(line, "counter %4095[^\n]", counter->path);
        } else if (!counter || !(sscanf(line, "span %" SCNu64, &counter->span) == 1
                                 || sscanf(line, "initial %" SCNu64, &counter->initial) == 1
                                 || sscanf(line, "reset_at %lf", &counter->reset_at) == 1
                                 || sscanf(line, "jump_at %lf", &counter->jump_at) == 1
                                 || sscanf(line, "frozen %lf %lf", &counter->frozen_from, &counter->frozen_until) == 2
                                 || sscanf(line, "spoilt %lf %lf %63[^\n]", &counter->spoilt_from, &counter->spoilt_until,
                                           counter->spoilt_text) >= 2
                                 || sscanf(line, "removed_at %lf", &counter->removed_at) == 1
                                 || profile_add(&counter->profile, line))) {
            errno = EINVAL;
            fail(line);
        }
    }
    fclose(spec);
}

static void show(char *text, const struct counter *counter, double t)
{
    uint64_t initial = counter->initial;
    double since = 0;
    if (t >= counter->frozen_from && t < counter->frozen_until)
        t = counter->frozen_from;
    if (t >= counter->reset_at) {
        since = counter->reset_at;
        initial = 0;
    }
    uint64_t microjoules = initial + (uint64_t)(profile_joules(&counter->profile, since, t) * 1e6);
    if (t >= counter->jump_at)
        microjoules += counter->span / 3;
    microjoules %= counter->span + 1;
    memset(text, ' ', DIGITS); /* by hand: printf would be half of what this program costs */
    for (char *digit = text + DIGITS - 1; digit >= text; digit--, microjoules /= 10) {
        *digit = '0' + microjoules % 10;
        if (microjoules < 10)
            break;
    }
    strcpy(text + DIGITS, "\n");
}

static void replace(const struct counter *counter, const char *text)
{
    size_t length = strlen(text);
    if (pwrite(counter->file, text, length, 0) != (ssize_t)length || ftruncate(counter->file, length))
        fail(counter->path);
}

static void start(struct counter *counter)
{
    char text[LENGTH + 1];
    counter->file = open(counter->path, O_RDWR | O_CLOEXEC);
    if (counter->file < 0)
        fail(counter->path);
    show(text, counter, 0);
    replace(counter, text);
    counter->page = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED, counter->file, 0);
    if (counter->page == MAP_FAILED)
        fail(counter->path);
}

static void update(struct counter *counter, double t)
{
    char text[LENGTH + 1];
    if (counter->state == REMOVED)
        return;
    if (t >= counter->removed_at) {
        /* Who has the file open reads nothing any more; the kernel would answer ENODEV, which a plain file cannot. */
        replace(counter, "");
        unlink(counter->path);
        counter->state = REMOVED;
        return;
    }
    if (t >= counter->spoilt_from && t < counter->spoilt_until) {
        if (counter->state == PLAIN)
            replace(counter, counter->spoilt_text);
        counter->state = SPOILT;
        return;
    }
    show(text, counter, t);
    if (counter->state == SPOILT) {
        replace(counter, text);
        counter->state = PLAIN;
    } else {
        digits value;
        memcpy(&value, text, DIGITS);
        *(volatile digits *)counter->page = value;
    }
}

int main(int argc, char **argv)
{
    struct pollfd input = {.fd = 0, .events = POLLIN};
    double before = 0, longest = 0;
    if (argc != 2) {
        fprintf(stderr, "usage: counters SPEC\n");
        return 2;
    }
    read_spec(argv[1]);
    for (int i = 0; i < counter_count; i++)
        start(&counters[i]);
    /* A meter does not wait for a busy processor. Where this is not allowed, the longest time between updates tells. */
    sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){.sched_priority = 1});
    for (int first = 1; first || poll(&input, 1, 1) == 0; first = 0) {
        double t = (monotonic_nanoseconds() - epoch_nanoseconds) * 1e-9;
        for (int i = 0; i < counter_count; i++)
            update(&counters[i], t);
        if (first) {
            puts("ready");
            fflush(stdout);
        } else if (t - before > longest) {
            longest = t - before;
        }
        before = t;
    }
    printf("%.6f\n", longest);
    return 0;
}
