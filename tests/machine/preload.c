/* A C library whose calls misbehave for greenrun's daemon alone: a log directory on a file system that hangs, no
 * process left to fork, a daemon that stands still from its birth or dies of it. Loaded with LD_PRELOAD; told what to do
 * by SIMULATED_TROUBLE=hang|nofork|stop|die|killed. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
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
    return real();
}

/* Greenrun is killed in the moment in which its command has been started. */
int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
                 const posix_spawnattr_t *attributes, char *const argv[], char *const envp[]) {
    int (*real)(pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *, char *const[],
                char *const[]);
    *(void **)&real = dlsym(RTLD_NEXT, "posix_spawnp");
    int error = real(pid, file, actions, attributes, argv, envp);
    if (trouble("killed"))
        raise(SIGKILL);
    return error;
}
