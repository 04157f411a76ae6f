/* A C library whose calls misbehave for greenrun's daemon alone: a log directory or files of its owner's on a file
 * system that hangs, no process left to fork, no thread, nobody to ask services, a daemon that stands still from its
 * birth or dies of it; and for greenrun as it starts a command. Loaded with LD_PRELOAD; told what to do by
 * SIMULATED_TROUBLE=hang|hang cache|hang token|nofork|nothread|nospawn|stop|die|late|busy|slow start|killed. */
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

static int trouble(const char *kind) {
    const char *told = getenv("SIMULATED_TROUBLE");
    return told && strcmp(told, kind) == 0;
}

/* The job's own mkdir(1) must not hang, so only paths of run directories do. */
int mkdir(const char *path, mode_t mode) {
    int (*real)(const char *, mode_t) = (int (*)(const char *, mode_t))dlsym(RTLD_NEXT, "mkdir");
    if (trouble("hang") && strstr(path, "greenrun-logs"))
        sleep(3600);
    return real(path, mode);
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
    return real(path, flags, mode);
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
    if (trouble("stop"))
        raise(SIGSTOP);
    if (trouble("die"))
        _exit(3);
    if (trouble("late"))
        usleep(600000);
    if (trouble("busy"))
        for (clock_t end = clock() + 4 * CLOCKS_PER_SEC / 10; clock() < end;)
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
