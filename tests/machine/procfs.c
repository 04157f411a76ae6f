/*
 * Keeps a simulated procfs alive: procfs SPEC
 *
 * The processes are the real ones: for each there is a link to its folder in /proc. A new process must be there from
 * its first moment, so links for the next process ids are made ahead; until then they dangle, as a process that has
 * just gone does. Where a load is told, the stat file shows processors that are busy by that profile.
 *
 * SPEC: "epoch NANOSECONDS", "root PATH", "processors N" and, for the load as a fraction of all processors, "power ..."
 * lines (profile.h). Writes "ready" to stdout when all is there and ends when stdin does.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "profile.h"

#define AHEAD 256
#define PERIOD_MILLISECONDS 20
#define SWEEP_PERIODS 50
#define JIFFIES_PER_SECOND 100

static int64_t epoch_nanoseconds;
static char root[PATH_MAX];
static int processors;
static struct profile load;

static void fail(const char *what)
{
    fprintf(stderr, "procfs: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void read_spec(const char *path)
{
    char line[PATH_MAX + 16];
    FILE *spec = fopen(path, "r");
    if (!spec)
        fail(path);
    while (fgets(line, sizeof line, spec)) {
        line[strcspn(line, "\n")] = 0;
        if (sscanf(line, "epoch %" SCNd64, &epoch_nanoseconds) != 1 && sscanf(line, "root %4095[^\n]", root) != 1
            && sscanf(line, "processors %d", &processors) != 1 && !profile_add(&load, line)) {
            errno = EINVAL;
            fail(line);
        }
    }
    fclose(spec);
}

/* The last field of loadavg is the process id that was given out last. */
static int newest_process(void)
{
    static int file = -1;
    char text[128];
    ssize_t length;
    if (file < 0 && (file = open("/proc/loadavg", O_RDONLY | O_CLOEXEC)) < 0)
        fail("/proc/loadavg");
    length = pread(file, text, sizeof text - 1, 0);
    if (length <= 0)
        fail("/proc/loadavg");
    text[length] = 0;
    return atoi(strrchr(text, ' '));
}

static void link_process(int process)
{
    char name[16], target[32];
    snprintf(name, sizeof name, "%d", process);
    snprintf(target, sizeof target, "/proc/%d", process);
    if (symlink(target, name) && errno != EEXIST)
        fail(name);
}

static void link_living(void)
{
    struct dirent *entry;
    DIR *directory = opendir("/proc");
    if (!directory)
        fail("/proc");
    while ((entry = readdir(directory)))
        if (atoi(entry->d_name) > 0)
            link_process(atoi(entry->d_name));
    closedir(directory);
}

static void unlink_gone(int newest)
{
    struct dirent *entry;
    DIR *directory = opendir(".");
    if (!directory)
        fail(root);
    while ((entry = readdir(directory))) {
        int process = atoi(entry->d_name);
        int ahead = process > newest && process <= newest + AHEAD;
        if (process > 0 && !ahead && access(entry->d_name, F_OK))
            unlink(entry->d_name);
    }
    closedir(directory);
}

/* Widths are fixed, so that the file is written in place and never has another length. */
static void write_stat(int file)
{
    char text[64 * 1024];
    int length = 0;
    double t = (monotonic_nanoseconds() - epoch_nanoseconds) * 1e-9, busy = profile_joules(&load, 0, t);
    uint64_t user = (uint64_t)(busy * JIFFIES_PER_SECOND), idle = (uint64_t)((t - busy) * JIFFIES_PER_SECOND);
    length += snprintf(text, sizeof text, "cpu  %12" PRIu64 " 0 0 %12" PRIu64 " 0 0 0 0 0 0\n",
                       (uint64_t)(busy * processors * JIFFIES_PER_SECOND),
                       (uint64_t)((t - busy) * processors * JIFFIES_PER_SECOND));
    for (int i = 0; i < processors && length < (int)sizeof text - 128; i++)
        length += snprintf(text + length, sizeof text - length, "cpu%d %12" PRIu64 " 0 0 %12" PRIu64 " 0 0 0 0 0 0\n", i, user, idle);
    if (pwrite(file, text, length, 0) != length)
        fail("stat");
}

int main(int argc, char **argv)
{
    struct pollfd input = {.fd = 0, .events = POLLIN};
    int newest, seen, stat = -1;
    if (argc != 2) {
        fprintf(stderr, "usage: procfs SPEC\n");
        return 2;
    }
    read_spec(argv[1]);
    if (chdir(root))
        fail(root);
    if (load.count && (stat = open("stat", O_RDWR | O_CREAT | O_CLOEXEC, 0444)) < 0)
        fail("stat");
    seen = newest_process();
    link_living();
    for (int process = seen + 1; process <= seen + AHEAD; process++)
        link_process(process);
    for (int period = 0; period == 0 || poll(&input, 1, PERIOD_MILLISECONDS) == 0; period++) {
        newest = newest_process();
        if (newest < seen) /* process ids start again at the small ones */
            seen = 0;
        for (int process = seen + AHEAD + 1; process <= newest + AHEAD; process++)
            link_process(process);
        seen = newest;
        if (stat >= 0)
            write_stat(stat);
        if (period == 0) {
            puts("ready");
            fflush(stdout);
        } else if (period % SWEEP_PERIODS == 0) {
            unlink_gone(newest);
        }
    }
    return 0;
}
