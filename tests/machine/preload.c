/* A C library whose calls misbehave for greenrun's daemon alone: a log directory or files of its owner's on a file
 * system that hangs, no process left to fork, no thread, nobody to ask services, a daemon that stands still from its
 * birth or dies of it; and for greenrun as it starts a command. Loaded with LD_PRELOAD; told what to do by
 * SIMULATED_TROUBLE=hang|hang cache|hang token|nofork|nothread|nospawn|stop|die|late|busy|slow start|killed.
 *
 * no space|over quota|read-only|broken disk: from 0.3 s after the file SIMULATED_SINCE is there the daemon can write nothing any more into
 * a directory greenrun-logs, and gets ENOSPC, EDQUOT, EROFS or EIO. clock forward|clock back|clock to and fro|suspend:
 * then its UTC is two hours ahead, behind, or the one after the other; or it has slept for a hundred seconds. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#define BEGIN_SECONDS 0.3
#define BACK_SECONDS 0.7
#define CLOCK_STEP_SECONDS 7200
#define SLEEP_SECONDS 100
#define MOST_FILES 1024

static int trouble(const char *kind) {
    const char *told = getenv("SIMULATED_TROUBLE");
    return told && strcmp(told, kind) == 0;
}

static int real_clock(clockid_t clock, struct timespec *now) {
    int (*real)(clockid_t, struct timespec *) = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    return real(clock, now);
}

static double seconds(void) {
    struct timespec now;
    real_clock(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec * 1e-9;
}

static int is_daemon;

/* How long, for the daemon, the file has been there whose coming begins the trouble. */
static double age(void) {
    static double since;
    const char *file = getenv("SIMULATED_SINCE");
    if (is_daemon && !since && file && access(file, F_OK) == 0)
        since = seconds();
    return since ? seconds() - since : 0;
}

/* What the clocks of the daemon are ahead by. */
int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = real_clock(clock, now);
    if (result || clock == CLOCK_MONOTONIC || age() < BEGIN_SECONDS)
        return result;
    if (clock == CLOCK_REALTIME) {
        if (trouble("clock forward") || (trouble("clock to and fro") && age() < BACK_SECONDS))
            now->tv_sec += CLOCK_STEP_SECONDS;
        else if (trouble("clock back") || trouble("clock to and fro"))
            now->tv_sec -= CLOCK_STEP_SECONDS;
    }
    if (trouble("suspend") && (clock == CLOCK_REALTIME || clock == CLOCK_BOOTTIME))
        now->tv_sec += SLEEP_SECONDS;
    return result;
}

/* The error that the disk gives by now, 0 for none. */
static int disk_error(void) {
    if (age() < BEGIN_SECONDS)
        return 0;
    return trouble("no space")      ? ENOSPC
           : trouble("over quota")  ? EDQUOT
           : trouble("read-only")   ? EROFS
           : trouble("broken disk") ? EIO
                                    : 0;
}

static char in_logs[MOST_FILES]; /* by descriptor */

/* Whatever way leads there: the names of what is in a run directory are not those of anything else. */
static int is_log(const char *path) {
    return strstr(path, "greenrun-logs") || strstr(path, "/run.jsonl") || strstr(path, "/last.json") ||
           strstr(path, "/summary.") || strstr(path, "/daemon-error.txt");
}

int close(int file) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "close");
    if (file >= 0 && file < MOST_FILES)
        in_logs[file] = 0;
    return real(file);
}

ssize_t write(int file, const void *data, size_t size) {
    ssize_t (*real)(int, const void *, size_t) = (ssize_t(*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    if (file >= 0 && file < MOST_FILES && in_logs[file] && disk_error()) {
        errno = disk_error();
        return -1;
    }
    return real(file, data, size);
}

/* The job's own mkdir(1) must not hang, so only paths of run directories do. */
int mkdir(const char *path, mode_t mode) {
    int (*real)(const char *, mode_t) = (int (*)(const char *, mode_t))dlsym(RTLD_NEXT, "mkdir");
    if (trouble("hang") && strstr(path, "greenrun-logs"))
        sleep(3600);
    return real(path, mode);
}

int mkdirat(int folder, const char *path, mode_t mode) {
    int (*real)(int, const char *, mode_t) = (int (*)(int, const char *, mode_t))dlsym(RTLD_NEXT, "mkdirat");
    if (trouble("hang") && strstr(path, "greenrun-logs"))
        sleep(3600);
    return real(folder, path, mode);
}

/* Python opens files by open64(3) and asks for them by stat64(3) and lstat64(3). */
static void hang_at(const char *path) {
    if ((trouble("hang cache") && strstr(path, ".cache")) || (trouble("hang token") && strstr(path, "token-file")))
        sleep(3600);
}

int open64(const char *path, int flags, ...) {
    int (*real)(const char *, int, mode_t) = (int (*)(const char *, int, mode_t))dlsym(RTLD_NEXT, "open64");
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    hang_at(path);
    if (is_log(path) && (flags & O_ACCMODE) != O_RDONLY && disk_error()) {
        errno = disk_error();
        return -1;
    }
    int file = real(path, flags, mode);
    if (file >= 0 && file < MOST_FILES)
        in_logs[file] = is_log(path);
    return file;
}

int stat64(const char *path, struct stat64 *status) {
    int (*real)(const char *, struct stat64 *) = (int (*)(const char *, struct stat64 *))dlsym(RTLD_NEXT, "stat64");
    hang_at(path);
    return real(path, status);
}

int lstat64(const char *path, struct stat64 *status) {
    int (*real)(const char *, struct stat64 *) = (int (*)(const char *, struct stat64 *))dlsym(RTLD_NEXT, "lstat64");
    hang_at(path);
    return real(path, status);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument) {
    int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    *(void **)&real = dlsym(RTLD_NEXT, "pthread_create");
    return trouble("nothread") ? EAGAIN : real(thread, attributes, start, argument);
}

/* What starts the process that asks services; commands are started by posix_spawnp(3). */
int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                const posix_spawnattr_t *attributes, char *const argv[], char *const envp[]) {
    int (*real)(pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *, char *const[],
                char *const[]);
    *(void **)&real = dlsym(RTLD_NEXT, "posix_spawn");
    return trouble("nospawn") ? EAGAIN : real(pid, path, actions, attributes, argv, envp);
}

pid_t fork(void) {
    pid_t (*real)(void) = (pid_t(*)(void))dlsym(RTLD_NEXT, "fork");
    if (trouble("nofork")) {
        errno = EAGAIN;
        return -1;
    }
    return real();
}

/* The first thing that the daemon does as a process of its own. */
pid_t setsid(void) {
    pid_t (*real)(void) = (pid_t(*)(void))dlsym(RTLD_NEXT, "setsid");
    is_daemon = 1;
    if (trouble("stop"))
        raise(SIGSTOP);
    if (trouble("die"))
        _exit(3);
    if (trouble("late"))
        usleep(600000);
    if (trouble("busy"))
        for (clock_t end = clock() + 3 * CLOCKS_PER_SEC / 10; clock() < end;)
            ;
    return real();
}

/* Greenrun is killed in the moment in which its command has been started. */
int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
                 const posix_spawnattr_t *attributes, char *const argv[], char *const envp[]) {
    int (*real)(pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *, char *const[],
                char *const[]);
    *(void **)&real = dlsym(RTLD_NEXT, "posix_spawnp");
    if (trouble("slow start"))
        sleep(1);
    int error = real(pid, file, actions, attributes, argv, envp);
    if (trouble("killed"))
        raise(SIGKILL);
    return error;
}
