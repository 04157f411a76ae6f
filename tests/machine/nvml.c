/*
 * A libnvidia-ml.so.1 with simulated GPUs, for the real pynvml to load through LD_LIBRARY_PATH.
 *
 * The prototypes, numbers and structures are those of NVIDIA's public NVML documentation, as far as a meter needs
 * them. The file that SIMULATED_NVML names is read at nvmlInit:
 *   epoch NANOSECONDS, driver VERSION, init_seconds S, init_error CODE, woken PATH, then for each GPU
 *   gpu, name TEXT, uuid TEXT, pci TEXT, status PATH, counter 0|1, counter_period S, initial MILLIJOULES, reset_at T,
 *   meter 0|1, instant 0|1, power_period S, average S, limit WATTS, utilisation PERCENT, lost_at T CODE, error CODE,
 *   minor N (below 0: not told) and "power ..." lines of the profile (profile.h);
 *   processes PATH, lists 0|1 (whether it tells them), uses 0|1 (and what each of them used), mig 0|1, most_slices N and
 *   for each part "slice UUID GPU_INSTANCE COMPUTE_INSTANCE GPU_SLICES COMPUTE_SLICES".
 * The file of a GPU's processes is read at each question, for they come and go: "PID PERCENT", in MIG mode with the two
 * instances behind it; those that do not live are passed over. Before the GPUs, calls PATH: where to note each list
 * ("list UUID") and each question about use ("use UUID").
 * Where SIMULATED_NVML_DEVICES is the beginning of a path, GPU N is refused to whoever may not open that path with N
 * behind it, as where a cgroup shuts /dev/nvidiaN; that there is no driver behind it does not matter.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "profile.h"

typedef int nvmlReturn_t;
enum {
    SUCCESS = 0,
    UNINITIALIZED = 1,
    INVALID_ARGUMENT = 2,
    NOT_SUPPORTED = 3,
    NO_PERMISSION = 4,
    NOT_FOUND = 6,
    INSUFFICIENT_SIZE = 7,
    DRIVER_NOT_LOADED = 9,
    GPU_IS_LOST = 15,
    LIB_RM_VERSION_MISMATCH = 18,
    UNKNOWN = 999,
};
enum { FIELD_POWER_AVERAGE = 185, FIELD_POWER_INSTANT = 186, VALUE_UNSIGNED_INT = 1 };

#define MOST_GPUS 64

#define MOST_SLICES 7
#define MOST_PROCESSES 64

typedef struct gpu {
    char name[64], uuid[64], pci[32], status[PATH_MAX], processes[PATH_MAX];
    int counter, power, instant, error, lost_error, minor, lists, uses, mig, is_slice;
    unsigned most_slices, slice_count, gpu_instance, compute_instance, gpu_slices, compute_slices;
    struct gpu *whole;
    unsigned limit_watts, utilisation_percent;
    unsigned long long initial_millijoules;
    double counter_period, power_period, average, reset_at, lost_at;
    struct profile profile;
} *nvmlDevice_t;

typedef struct {
    char busIdLegacy[16];
    unsigned domain, bus, device, pciDeviceId, pciSubSystemId;
    char busId[32];
} nvmlPciInfo_t;

typedef struct {
    unsigned gpu, memory;
} nvmlUtilization_t;

typedef struct {
    unsigned pid;
    unsigned long long memory;
    unsigned gpu_instance, compute_instance;
} nvmlProcessInfo_t;

typedef struct {
    unsigned pid;
    unsigned long long time;
    unsigned sm, memory, encoder, decoder;
} nvmlProcessUtilizationSample_t;

typedef struct {
    unsigned multiprocessors, copiers, decoders, encoders, jpegs, flows, gpu_slices, compute_slices;
    unsigned long long megabytes;
} nvmlDeviceAttributes_t;

typedef struct {
    unsigned long long total, free, used;
} nvmlMemory_t;

typedef struct {
    unsigned fieldId, scopeId;
    long long timestamp, latencyUsec;
    int valueType;
    nvmlReturn_t nvmlReturn;
    union {
        double dVal;
        unsigned uiVal;
        unsigned long long ullVal;
    } value;
} nvmlFieldValue_t;

static struct gpu gpus[MOST_GPUS];
static struct gpu slices[MOST_GPUS][MOST_SLICES];
static unsigned gpu_count;
static char driver[64], woken_path[PATH_MAX], calls_path[PATH_MAX];
static int64_t epoch_nanoseconds;
static double init_seconds;
static int init_error, users;
static pid_t owner;

static int read_slice(struct gpu *gpu, const char *line)
{
    struct gpu *part = &slices[gpu - gpus][gpu->slice_count];
    if (gpu->slice_count == MOST_SLICES
        || sscanf(line, "slice %63s %u %u %u %u", part->uuid, &part->gpu_instance, &part->compute_instance,
                  &part->gpu_slices, &part->compute_slices) != 5)
        return 0;
    part->is_slice = 1;
    part->whole = gpu;
    gpu->slice_count++;
    return 1;
}

static int read_line(struct gpu *gpu, const char *line)
{
    return read_slice(gpu, line) || sscanf(line, "processes %4095[^\n]", gpu->processes) == 1
           || sscanf(line, "lists %d", &gpu->lists) == 1 || sscanf(line, "uses %d", &gpu->uses) == 1
           || sscanf(line, "mig %d", &gpu->mig) == 1 || sscanf(line, "most_slices %u", &gpu->most_slices) == 1
           || sscanf(line, "name %63[^\n]", gpu->name) == 1 || sscanf(line, "uuid %63s", gpu->uuid) == 1
           || sscanf(line, "pci %31s", gpu->pci) == 1 || sscanf(line, "status %4095[^\n]", gpu->status) == 1
           || sscanf(line, "counter %d", &gpu->counter) == 1
           || sscanf(line, "counter_period %lf", &gpu->counter_period) == 1
           || sscanf(line, "initial %llu", &gpu->initial_millijoules) == 1
           || sscanf(line, "reset_at %lf", &gpu->reset_at) == 1 || sscanf(line, "meter %d", &gpu->power) == 1
           || sscanf(line, "instant %d", &gpu->instant) == 1
           || sscanf(line, "power_period %lf", &gpu->power_period) == 1
           || sscanf(line, "average %lf", &gpu->average) == 1 || sscanf(line, "limit %u", &gpu->limit_watts) == 1
           || sscanf(line, "utilisation %u", &gpu->utilisation_percent) == 1
           || sscanf(line, "minor %d", &gpu->minor) == 1 || sscanf(line, "lost_at %lf %d", &gpu->lost_at, &gpu->lost_error) == 2 || sscanf(line, "error %d", &gpu->error) == 1
           || profile_add(&gpu->profile, line);
}

static int read_configuration(void)
{
    char line[PATH_MAX + 32];
    const char *path = getenv("SIMULATED_NVML");
    FILE *file = path ? fopen(path, "r") : NULL;
    int right = file != NULL;
    gpu_count = 0;
    memset(gpus, 0, sizeof gpus);
    memset(slices, 0, sizeof slices);
    while (right && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        if (!strcmp(line, "gpu") && gpu_count < MOST_GPUS)
            gpu_count++;
        else if (gpu_count)
            right = read_line(&gpus[gpu_count - 1], line);
        else
            right = sscanf(line, "epoch %" SCNd64, &epoch_nanoseconds) == 1
                    || sscanf(line, "driver %63s", driver) == 1
                    || sscanf(line, "init_seconds %lf", &init_seconds) == 1
                    || sscanf(line, "init_error %d", &init_error) == 1
                    || sscanf(line, "woken %4095[^\n]", woken_path) == 1
                    || sscanf(line, "calls %4095[^\n]", calls_path) == 1;
    }
    if (!right)
        fprintf(stderr, "simulated NVML: cannot read %s, at: %s\n", path ? path : "SIMULATED_NVML", file ? line : "its start");
    if (file)
        fclose(file);
    return right;
}

static double now(void)
{
    return (monotonic_nanoseconds() - epoch_nanoseconds) * 1e-9;
}

/* NVML does not survive a fork: only the process that initialised it may ask. */
static nvmlReturn_t ready(void)
{
    if (!users)
        return UNINITIALIZED;
    return getpid() == owner ? SUCCESS : UNKNOWN;
}

static nvmlReturn_t reachable(nvmlDevice_t gpu)
{
    nvmlReturn_t status = ready();
    if (status)
        return status;
    if (gpu->is_slice)
        gpu = gpu->whole;
    if (gpu->error)
        return gpu->error;
    return now() >= gpu->lost_at ? gpu->lost_error : SUCCESS;
}

static double watts(nvmlDevice_t gpu, double window)
{
    double t = whole_periods(now() / gpu->power_period) * gpu->power_period;
    return window > 0 ? profile_joules(&gpu->profile, t - window, t) / window : profile_watts(&gpu->profile, t);
}

static int is_shut(nvmlDevice_t gpu)
{
    char path[PATH_MAX + 16];
    const char *begin = getenv("SIMULATED_NVML_DEVICES");
    if (!begin)
        return 0;
    snprintf(path, sizeof path, "%s%d", begin, gpu->minor);
    int file = open(path, O_RDWR | O_CLOEXEC);
    if (file >= 0)
        close(file);
    return file < 0 && (errno == EPERM || errno == EACCES);
}

/* Asking for a handle attaches to the GPU; a GPU asleep wakes up, and the machine takes a note of it. */
static nvmlReturn_t attach(nvmlDevice_t gpu, nvmlDevice_t *device)
{
    char state[16] = "";
    FILE *file = fopen(gpu->status, "r");
    nvmlReturn_t status = reachable(gpu);
    if (file) {
        if (fgets(state, sizeof state, file) && !strncmp(state, "suspended", 9)) {
            FILE *woken = fopen(woken_path, "a");
            if (woken) {
                fprintf(woken, "%s\n", gpu->uuid);
                fclose(woken);
            }
        }
        fclose(file);
    }
    *device = gpu;
    return is_shut(gpu) ? NO_PERMISSION : status;
}

nvmlReturn_t nvmlInitWithFlags(unsigned flags)
{
    (void)flags;
    if (!users) {
        if (!read_configuration())
            return UNKNOWN;
        struct timespec wait = {.tv_sec = (time_t)init_seconds};
        wait.tv_nsec = (long)((init_seconds - wait.tv_sec) * 1e9);
        nanosleep(&wait, NULL);
        if (init_error)
            return init_error;
        owner = getpid();
    }
    users++;
    return SUCCESS;
}

nvmlReturn_t nvmlInit_v2(void)
{
    return nvmlInitWithFlags(0);
}

nvmlReturn_t nvmlShutdown(void)
{
    if (!users)
        return UNINITIALIZED;
    users--;
    return SUCCESS;
}

const char *nvmlErrorString(nvmlReturn_t result)
{
    switch (result) {
    case SUCCESS:
        return "Success";
    case UNINITIALIZED:
        return "Uninitialized";
    case INVALID_ARGUMENT:
        return "Invalid Argument";
    case NOT_SUPPORTED:
        return "Not Supported";
    case NO_PERMISSION:
        return "Insufficient Permissions";
    case NOT_FOUND:
        return "Not Found";
    case INSUFFICIENT_SIZE:
        return "Insufficient Size";
    case DRIVER_NOT_LOADED:
        return "Driver Not Loaded";
    case GPU_IS_LOST:
        return "GPU is lost";
    case LIB_RM_VERSION_MISMATCH:
        return "Driver/library version mismatch";
    default:
        return "Unknown Error";
    }
}

nvmlReturn_t nvmlSystemGetDriverVersion(char *version, unsigned length)
{
    if (!ready())
        snprintf(version, length, "%s", driver);
    return ready();
}

nvmlReturn_t nvmlDeviceGetCount_v2(unsigned *count)
{
    *count = gpu_count;
    return ready();
}

nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned index, nvmlDevice_t *device)
{
    if (ready())
        return ready();
    return index < gpu_count ? attach(&gpus[index], device) : INVALID_ARGUMENT;
}

nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *device)
{
    if (ready())
        return ready();
    for (unsigned i = 0; i < gpu_count; i++)
        if (!strcmp(gpus[i].uuid, uuid))
            return attach(&gpus[i], device);
    return NOT_FOUND;
}

static int parse_pci(const char *text, unsigned *domain, unsigned *bus, unsigned *slot)
{
    unsigned function;
    return sscanf(text, "%x:%x:%x.%x", domain, bus, slot, &function) == 4;
}

nvmlReturn_t nvmlDeviceGetHandleByPciBusId_v2(const char *text, nvmlDevice_t *device)
{
    unsigned domain, bus, slot, its_domain, its_bus, its_slot;
    if (ready())
        return ready();
    if (!parse_pci(text, &domain, &bus, &slot))
        return INVALID_ARGUMENT;
    for (unsigned i = 0; i < gpu_count; i++)
        if (parse_pci(gpus[i].pci, &its_domain, &its_bus, &its_slot) && domain == its_domain && bus == its_bus
            && slot == its_slot)
            return attach(&gpus[i], device);
    return NOT_FOUND;
}

nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t device, char *name, unsigned length)
{
    snprintf(name, length, "%s", device->name);
    return reachable(device);
}

nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t device, char *uuid, unsigned length)
{
    snprintf(uuid, length, "%s", device->uuid);
    return reachable(device);
}

nvmlReturn_t nvmlDeviceGetMinorNumber(nvmlDevice_t device, unsigned *minor)
{
    if (device->minor < 0)
        return NOT_SUPPORTED;
    *minor = device->minor;
    return reachable(device);
}

nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t device, nvmlPciInfo_t *pci)
{
    memset(pci, 0, sizeof *pci);
    if (!parse_pci(device->pci, &pci->domain, &pci->bus, &pci->device))
        return UNKNOWN;
    snprintf(pci->busIdLegacy, sizeof pci->busIdLegacy, "%04X:%02X:%02X.0", pci->domain & 0xffff, pci->bus & 0xff,
             pci->device & 0xff);
    snprintf(pci->busId, sizeof pci->busId, "%08X:%02X:%02X.0", pci->domain, pci->bus, pci->device);
    return reachable(device);
}

nvmlReturn_t nvmlDeviceGetTotalEnergyConsumption(nvmlDevice_t device, unsigned long long *millijoules)
{
    nvmlReturn_t status = reachable(device);
    if (status || !device->counter)
        return status ? status : NOT_SUPPORTED;
    double t = whole_periods(now() / device->counter_period) * device->counter_period;
    if (t >= device->reset_at)
        *millijoules = (unsigned long long)(profile_joules(&device->profile, device->reset_at, t) * 1e3);
    else
        *millijoules = device->initial_millijoules + (unsigned long long)(profile_joules(&device->profile, 0, t) * 1e3);
    return SUCCESS;
}

nvmlReturn_t nvmlDeviceGetPowerUsage(nvmlDevice_t device, unsigned *milliwatts)
{
    nvmlReturn_t status = reachable(device);
    if (status || !device->power)
        return status ? status : NOT_SUPPORTED;
    *milliwatts = (unsigned)(watts(device, device->average) * 1e3 + 0.5);
    return SUCCESS;
}

nvmlReturn_t nvmlDeviceGetFieldValues(nvmlDevice_t device, int count, nvmlFieldValue_t *values)
{
    nvmlReturn_t status = reachable(device);
    for (int i = 0; !status && i < count; i++) {
        int average = values[i].fieldId == FIELD_POWER_AVERAGE;
        /* instant 2: the figures are of the module, CPU and GPU, and of nothing less */
        int in_scope = device->instant == 1 + (int)values[i].scopeId;
        if (!in_scope || !(average || values[i].fieldId == FIELD_POWER_INSTANT)) {
            values[i].nvmlReturn = NOT_SUPPORTED;
            continue;
        }
        values[i].nvmlReturn = SUCCESS;
        values[i].valueType = VALUE_UNSIGNED_INT;
        values[i].value.uiVal = (unsigned)(watts(device, average ? 1 : 0) * 1e3 + 0.5);
    }
    return status;
}

nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t device, nvmlUtilization_t *utilisation)
{
    utilisation->gpu = device->utilisation_percent;
    utilisation->memory = device->utilisation_percent / 2;
    return device->mig > 0 ? NOT_SUPPORTED : reachable(device);
}

nvmlReturn_t nvmlDeviceGetEnforcedPowerLimit(nvmlDevice_t device, unsigned *milliwatts)
{
    *milliwatts = device->limit_watts * 1000;
    return reachable(device);
}

nvmlReturn_t nvmlDeviceGetPowerManagementLimit(nvmlDevice_t device, unsigned *milliwatts)
{
    return nvmlDeviceGetEnforcedPowerLimit(device, milliwatts);
}

nvmlReturn_t nvmlDeviceGetMigMode(nvmlDevice_t device, unsigned *current, unsigned *pending)
{
    nvmlReturn_t status = reachable(device);
    *current = *pending = device->mig > 0;
    return status || device->mig >= 0 ? status : NOT_SUPPORTED;
}

nvmlReturn_t nvmlDeviceGetMaxMigDeviceCount(nvmlDevice_t device, unsigned *count)
{
    *count = device->most_slices;
    return reachable(device);
}

nvmlReturn_t nvmlDeviceGetMigDeviceHandleByIndex(nvmlDevice_t device, unsigned index, nvmlDevice_t *slice)
{
    nvmlReturn_t status = reachable(device);
    if (status)
        return status;
    if (index >= device->most_slices)
        return INVALID_ARGUMENT;
    *slice = &slices[device - gpus][index];
    return index < device->slice_count ? SUCCESS : NOT_FOUND;
}

nvmlReturn_t nvmlDeviceGetAttributes_v2(nvmlDevice_t device, nvmlDeviceAttributes_t *attributes)
{
    *attributes = (nvmlDeviceAttributes_t){.gpu_slices = device->gpu_slices, .compute_slices = device->compute_slices};
    return device->is_slice ? reachable(device) : NOT_SUPPORTED;
}

nvmlReturn_t nvmlDeviceGetGpuInstanceId(nvmlDevice_t device, unsigned *id)
{
    *id = device->gpu_instance;
    return device->is_slice ? reachable(device) : NOT_SUPPORTED;
}

nvmlReturn_t nvmlDeviceGetComputeInstanceId(nvmlDevice_t device, unsigned *id)
{
    *id = device->compute_instance;
    return device->is_slice ? reachable(device) : NOT_SUPPORTED;
}

static void note_call(const char *what, nvmlDevice_t device)
{
    FILE *file = *calls_path ? fopen(calls_path, "a") : NULL;
    if (file) {
        fprintf(file, "%s %s\n", what, device->uuid);
        fclose(file);
    }
}

/* Read who lives on a GPU, and the per cent of the time in which something of theirs runs. */
static unsigned read_processes(nvmlDevice_t device, nvmlProcessInfo_t *found, unsigned *percents)
{
    char line[128];
    unsigned count = 0;
    FILE *file = fopen(device->processes, "r");
    while (file && count < MOST_PROCESSES && fgets(line, sizeof line, file)) {
        nvmlProcessInfo_t process = {.gpu_instance = UINT_MAX, .compute_instance = UINT_MAX};
        if (sscanf(line, "%u %u %u %u", &process.pid, &percents[count], &process.gpu_instance,
                   &process.compute_instance) >= 2
            && (!kill(process.pid, 0) || errno == EPERM))
            found[count++] = process;
    }
    if (file)
        fclose(file);
    return count;
}

nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t device, unsigned *count, nvmlProcessInfo_t *processes)
{
    nvmlProcessInfo_t found[MOST_PROCESSES];
    unsigned percents[MOST_PROCESSES], room = *count;
    nvmlReturn_t status = reachable(device);
    if (status || !device->lists)
        return status ? status : NOT_SUPPORTED;
    if (!processes)
        note_call("list", device);
    *count = read_processes(device, found, percents);
    if (*count > room || (*count && !processes))
        return INSUFFICIENT_SIZE;
    if (processes)
        memcpy(processes, found, *count * sizeof *found);
    return SUCCESS;
}

nvmlReturn_t nvmlDeviceGetGraphicsRunningProcesses_v3(nvmlDevice_t device, unsigned *count, nvmlProcessInfo_t *processes)
{
    (void)processes;
    *count = 0;
    return reachable(device);
}

/* Like the driver it tells something new six times a second, and says "not found" in between. */
nvmlReturn_t nvmlDeviceGetProcessUtilization(nvmlDevice_t device, nvmlProcessUtilizationSample_t *samples,
                                             unsigned *count, unsigned long long since)
{
    nvmlProcessInfo_t found[MOST_PROCESSES];
    unsigned percents[MOST_PROCESSES], room = *count, used = 0;
    struct timespec clock;
    nvmlReturn_t status = reachable(device);
    if (status || !device->uses || device->mig > 0)
        return status ? status : NOT_SUPPORTED;
    if (!samples)
        note_call("use", device);
    clock_gettime(CLOCK_REALTIME, &clock);
    unsigned long long microseconds = (clock.tv_sec * 6ULL + clock.tv_nsec * 6ULL / 1000000000) * 1000000 / 6;
    unsigned living = microseconds > since ? read_processes(device, found, percents) : 0;
    for (unsigned i = 0; i < living; i++)
        if (percents[i]) {
            if (samples && used < room)
                samples[used] = (nvmlProcessUtilizationSample_t){found[i].pid, microseconds, percents[i], 0, 0, 0};
            used++;
        }
    *count = used;
    if (!used)
        return NOT_FOUND;
    return samples && used <= room ? SUCCESS : INSUFFICIENT_SIZE;
}

/* What follows is what other tools cannot do without when they look at a GPU. */

nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t *memory)
{
    *memory = (nvmlMemory_t){80ULL << 30, 60ULL << 30, 20ULL << 30};
    return reachable(device);
}

nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t device, int sensor, unsigned *celsius)
{
    (void)sensor;
    *celsius = 55;
    return reachable(device);
}

nvmlReturn_t nvmlDeviceGetComputeMode(nvmlDevice_t device, int *mode)
{
    *mode = 0; /* shared: several processes may use it */
    return reachable(device);
}
