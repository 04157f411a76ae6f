/* Power over time with an exact integral, as in profiles.py: sums of square waves; seconds since the epoch, watts, joules. */
#ifndef PROFILE_H
#define PROFILE_H

#include <stdint.h>
#include <stdio.h>
#include <time.h>

#define MOST_WAVES 16

struct wave {
    double low_watts, high_watts, hz, phase, duty;
};

struct profile {
    int count;
    struct wave waves[MOST_WAVES];
};

/* Take one "power LOW HIGH HZ PHASE DUTY" line; 0 where the line is something else. */
static inline int profile_add(struct profile *profile, const char *line)
{
    struct wave wave;
    if (profile->count == MOST_WAVES)
        return 0;
    if (sscanf(line, "power %lf %lf %lf %lf %lf", &wave.low_watts, &wave.high_watts, &wave.hz, &wave.phase, &wave.duty) != 5)
        return 0;
    profile->waves[profile->count++] = wave;
    return 1;
}

/* floor() without libm, so that the programs need nothing but libc. */
static inline double whole_periods(double periods)
{
    double whole = (double)(int64_t)periods;
    return whole > periods ? whole - 1 : whole;
}

static inline double high_periods(const struct wave *wave, double t)
{
    double periods = t * wave->hz + wave->phase, whole = whole_periods(periods), rest = periods - whole;
    return whole * wave->duty + (rest < wave->duty ? rest : wave->duty);
}

static inline double profile_watts(const struct profile *profile, double t)
{
    double watts = 0;
    for (int i = 0; i < profile->count; i++) {
        const struct wave *wave = &profile->waves[i];
        double periods = t * wave->hz + wave->phase;
        watts += periods - whole_periods(periods) < wave->duty ? wave->high_watts : wave->low_watts;
    }
    return watts;
}

static inline double profile_joules(const struct profile *profile, double t0, double t1)
{
    double joules = 0;
    for (int i = 0; i < profile->count; i++) {
        const struct wave *wave = &profile->waves[i];
        double high_seconds = (high_periods(wave, t1) - high_periods(wave, t0)) / wave->hz;
        joules += wave->low_watts * (t1 - t0) + (wave->high_watts - wave->low_watts) * high_seconds;
    }
    return joules;
}

static inline int64_t monotonic_nanoseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

#endif
