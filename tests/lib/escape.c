// Tries to get out of a sandbox, in every way that it knows, and says what stopped it:
//
//     escape serve NAME PORT       outside: something to be reached, until standard input ends
//     escape try FILE PID NAME PORT
//
// FILE is one of the host's, PID a process there, NAME an abstract socket, PORT on the loopback
// interface. A line for each way: `held: WAY: ERRNO`, or `OUT: WAY: what happened`. Exit code 0 if
// each was held for a reason that is right for it.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *file, *name;
static int pid, port;

// What every way gives: 0 where it leads out, else why not.
static int why(long result) { return result < 0 ? errno : 0; }

static int opens(const char *path, int flags) {
    int opened = open(path, flags | O_CLOEXEC);
    if (opened < 0) return errno;
    close(opened);
    return 0;
}
static int below(const char *above, const char *path) {
    char text[4096];
    snprintf(text, sizeof text, "%s%s", above, path);
    return opens(text, O_RDONLY);
}

static int host_file(void) { return opens(file, O_RDONLY); }
static int host_file_dots(void) { return below("/../../../../..", file); }
static int host_directory(void) {
    char text[4096];
    snprintf(text, sizeof text, "%s", file);
    *strrchr(text, '/') = 0;
    return opens(text, O_RDONLY | O_DIRECTORY);
}
static int init_root(void) { return below("/proc/1/root", file); }
static int init_cwd(void) { return below("/proc/1/cwd", file); }
static int init_memory(void) { return opens("/proc/1/mem", O_RDWR); }
static int init_environment(void) { return opens("/proc/1/environ", O_RDONLY); }
static int init_descriptors(void) {
    char path[64], target[64];
    for (int number = 0; number < 64; number++) {
        snprintf(path, sizeof path, "/proc/1/fd/%d", number);
        if (opens(path, O_RDONLY) == 0 || readlink(path, target, sizeof target) >= 0) return 0;
    }
    return opens("/proc/1/fd/0", O_RDONLY);
}
static int init_program(void) { return opens("/proc/1/exe", O_WRONLY); }
static int init_namespace(void) { return opens("/proc/1/ns/mnt", O_RDONLY); }
static int link_in_image(void) { return opens("/out", O_RDONLY); }
static int link_in_image_up(void) { return opens("/up", O_RDONLY); }

// With a directory from before the chroot, whose parents are above the new root.
static int chroot_fchdir(void) {
    int before = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), result;
    mkdir("/tmp", 0777);
    mkdir("/tmp/jail", 0777);
    pid_t child = fork();
    if (child == 0) {
        if (chroot("/tmp/jail") < 0) _exit(errno);
        if (fchdir(before) < 0) _exit(errno);
        for (int up = 0; up < 64; up++) (void)!chdir("..");
        if (chroot(".") < 0) _exit(errno);
        _exit(opens(file, O_RDONLY));
    }
    waitpid(child, &result, 0);
    close(before);
    return WIFEXITED(result) ? WEXITSTATUS(result) : EINTR;
}

static int descriptors(void) {
    for (int number = 3; number < 4096; number++)
        if (fcntl(number, F_GETFD) >= 0) return 0;
    return EBADF;
}
static int streams_are_directories(void) {
    struct stat found;
    for (int number = 0; number < 3; number++) {
        if (fstat(number, &found) == 0 && S_ISDIR(found.st_mode)) return 0;
        if (openat(number, "..", O_RDONLY | O_DIRECTORY) >= 0) return 0;
    }
    return ENOTDIR;
}
static int host_process(void) { return why(kill(pid, 0)); }
static int host_processes_in_proc(void) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/cmdline", pid);
    return opens(path, O_RDONLY);
}
// Signals to the first process get lost, as they do when nobody is there.
static int kill_init(void) {
    if (kill(1, SIGKILL) < 0) return errno;
    usleep(50000);
    return getppid() == 1 ? ESRCH : 0;
}
static int everything(void) {
    DIR *proc = opendir("/proc");
    struct dirent *entry;
    int count = 0;
    while (proc && (entry = readdir(proc)))
        if (atoi(entry->d_name) > 0) count++;
    if (proc) closedir(proc);
    return count <= 3 ? ESRCH : 0;
}
static int trace_init(void) { return why(ptrace(PTRACE_ATTACH, 1, 0, 0)); }
static int trace_me(void) { return why(ptrace(PTRACE_TRACEME, 0, 0, 0)); }
static int read_init(void) {
    char bytes[8];
    struct iovec here = {bytes, 8}, there = {(void *)0x400000, 8};
    return why(process_vm_readv(1, &here, 1, &there, 1, 0));
}
static int steal_descriptor(void) {
    int handle = syscall(SYS_pidfd_open, 1, 0);
    if (handle < 0) return errno;
    return why(syscall(SYS_pidfd_getfd, handle, 0, 0));
}

static int socket_abstract(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int one = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memcpy(address.sun_path + 1, name, strlen(name));
    int result = why(connect(one, (void *)&address, offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name)));
    close(one);
    return result;
}
static int reach(const char *host, int at) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(at)};
    int one = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    inet_pton(AF_INET, host, &address.sin_addr);
    int result = why(connect(one, (void *)&address, sizeof address));
    close(one);
    return result;
}
static int network_loopback(void) { return reach("127.0.0.1", port); }
static int network_outside(void) { return reach("192.0.2.1", 80); }
static int interfaces(void) {
    struct if_nameindex *all = if_nameindex();
    if (!all) return errno;
    int count = 0;
    while (all[count].if_index) count++;
    if_freenameindex(all);
    return count == 1 ? ENODEV : 0;
}
static int socket_raw(void) { return why(socket(AF_PACKET, SOCK_RAW, 0)); }
static int socket_machine(void) { return why(socket(40, SOCK_STREAM, 0)); }
static int socket_crypto(void) { return why(socket(38, SOCK_SEQPACKET, 0)); }

static int keys_session(void) { return why(syscall(SYS_keyctl, 0, -3, 0)); }
static int keys_user(void) { return why(syscall(SYS_keyctl, 11, -4, 0, 0)); }
static int keys_add(void) { return why(syscall(SYS_add_key, "user", "escape", "x", 1, -4)); }
static int keys_request(void) { return why(syscall(SYS_request_key, "user", "canary", 0, 0)); }

static int environment(void) { return getenv("CANARY") || getenv("MAB_CACHE_DIR") || getenv("TMPDIR") ? 0 : ENOENT; }

static int own_namespace(const char *kind, int flag) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/ns/%s", kind);
    int opened = open(path, O_RDONLY | O_CLOEXEC);
    if (opened < 0) return errno;
    int result = why(setns(opened, flag));
    close(opened);
    return result;
}
static int enter_namespace(void) { return own_namespace("uts", CLONE_NEWUTS); }
static int enter_user_namespace(void) { return own_namespace("user", CLONE_NEWUSER); }
static int new_user_namespace(void) { return why(unshare(CLONE_NEWUSER)); }
static int new_mount_namespace(void) { return why(unshare(CLONE_NEWNS)); }
static int new_namespace_by_clone(void) {
    long child = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
    if (child == 0) _exit(0);
    return why(child);
}
static int new_namespace_by_clone3(void) {
    unsigned long long arguments[8] = {CLONE_NEWUSER, 0, 0, 0, SIGCHLD};
    long child = syscall(SYS_clone3, arguments, sizeof arguments);
    if (child == 0) _exit(0);
    return why(child);
}

static int mounts(void) { return why(mount("none", "/tmp", "tmpfs", 0, "")); }
static int mounts_again(void) { return why(mount("", "/proc/sys", "", MS_REMOUNT | MS_BIND, "")); }
static int unmounts(void) { return why(umount2("/proc/sys", MNT_DETACH)); }
static int unmounts_dev(void) { return why(umount2("/dev/null", MNT_DETACH)); }
static int mounts_new_way(void) { return why(syscall(SYS_fsopen, "tmpfs", 0)); }
static int clones_tree(void) { return why(syscall(SYS_open_tree, AT_FDCWD, "/", 1)); }
static int pivots(void) { return why(syscall(SYS_pivot_root, "/tmp", "/tmp")); }
static int core_pattern(void) { return opens("/proc/sys/kernel/core_pattern", O_WRONLY); }
static int host_name(void) { return why(sethostname("x", 1)); }
static int sysrq(void) { return opens("/proc/sysrq-trigger", O_WRONLY); }
static int kernel_memory(void) {
    char byte;
    int opened = open("/proc/kcore", O_RDONLY | O_CLOEXEC);
    if (opened < 0) return errno;
    int count = read(opened, &byte, 1);
    close(opened);
    return count == 0 ? ENODATA : 0;
}
static int score(void) {
    int opened = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (opened < 0) return errno;
    int result = why(write(opened, "-1000", 5));
    close(opened);
    return result;
}
static int device(mode_t kind, int major, int minor) {
    unlink("/tmp/device");
    if (mknod("/tmp/device", kind | 0666, makedev(major, minor)) < 0) return errno;
    return opens("/tmp/device", O_RDWR);
}
static int block_device(void) { return device(S_IFBLK, 254, 0); }
static int memory_device(void) { return device(S_IFCHR, 1, 1); }
static int whiteout_opens(void) { return device(S_IFCHR, 0, 0); }
static int devices(void) {
    DIR *dev = opendir("/dev");
    struct dirent *entry;
    static const char *known = " . .. null zero full random urandom tty fd stdin stdout stderr ptmx pts shm ";
    while (dev && (entry = readdir(dev))) {
        char word[300];
        snprintf(word, sizeof word, " %s ", entry->d_name);
        if (!strstr(known, word)) return 0;
    }
    if (dev) closedir(dev);
    return ENODEV;
}
static int handle(void) {
    struct { struct file_handle head; unsigned char rest[16]; } root = {{8, 1}, {2}};
    return why(open_by_handle_at(AT_FDCWD, &root.head, O_RDONLY));
}
static int types_into_terminal(void) { return why(ioctl(0, TIOCSTI, "x")); }
static int types_with_high_bits(void) { return why(syscall(SYS_ioctl, 0, 0x100000000UL | TIOCSTI, "x")); }
static int console(void) { return why(ioctl(0, 0x541c, "\2")); }
// Its own is the first; there are no others.
static int host_terminal(void) {
    char path[64];
    for (int number = 1; number < 64; number++) {
        snprintf(path, sizeof path, "/dev/pts/%d", number);
        if (opens(path, O_RDWR) == 0) return 0;
    }
    return opens("/dev/tty1", O_RDWR) ? opens("/dev/console", O_RDWR) : 0;
}
static int cgroups(void) { return opens("/sys/fs/cgroup", O_RDONLY); }
static int sys(void) { return opens("/sys/kernel", O_RDONLY); }
static int kernel_program(void) { return why(syscall(SYS_bpf, 5, 0, 0)); }
static int performance(void) { return why(syscall(SYS_perf_event_open, 0, 0, -1, -1, 0)); }
static int page_faults(void) { return why(syscall(SYS_userfaultfd, 0)); }
static int rings(void) { return why(syscall(SYS_io_uring_setup, 1, 0)); }
static int module(void) { return why(syscall(SYS_init_module, 0, 0, "")); }
static int other_kernel(void) { return why(syscall(SYS_kexec_load, 0, 0, 0, 0)); }
static int clock_set(void) {
    struct timeval now;
    gettimeofday(&now, 0);
    return why(settimeofday(&now, 0));
}
static int restart(void) { return why(syscall(SYS_reboot, 0xfee1dead, 672274793, 0, 0)); }
static int log_read(void) { return why(syscall(SYS_syslog, 3, 0, 0)); }
static int other_user(void) { return why(setuid(4242)); }
static int other_groups(void) { gid_t groups[1] = {4242}; return why(setgroups(1, groups)); }
static int privileges(void) { return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 && prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == SECCOMP_MODE_FILTER ? EPERM : 0; }
static int core_limit(void) {
    struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
    return why(setrlimit(RLIMIT_CORE, &limit));
}
static int other_calls(void) {
#ifdef __x86_64__
    // mount as a program for 386 asks for it.
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(21), "b"(0), "c"(0), "d"(0), "S"(0), "D"(0) : "memory");
    if (result == -ENOSYS) return ENOSYS;
    return result < 0 && result > -4096 ? -result : 0;
#else
    return ENOSYS;
#endif
}
static int x32_calls(void) { return why(syscall(0x40000000 | SYS_mount, 0, 0, 0, 0, 0)); }

static const struct { const char *way; int (*try)(void); int reasons[4]; } ways[] = {
    {"a file of the host", host_file, {ENOENT}},
    {"the same by way of ..", host_file_dots, {ENOENT}},
    {"the directory that it is in", host_directory, {ENOENT}},
    {"/proc/1/root", init_root, {EACCES}},
    {"/proc/1/cwd", init_cwd, {EACCES}},
    {"/proc/1/mem", init_memory, {EACCES}},
    {"/proc/1/environ", init_environment, {EACCES}},
    {"what is behind /proc/1/fd", init_descriptors, {EACCES}},
    {"/proc/1/exe, to write to mab", init_program, {EACCES}},
    {"/proc/1/ns", init_namespace, {EACCES}},
    {"being spared when memory runs out", score, {EACCES}},
    {"a link of the image to a file outside", link_in_image, {ENOENT}},
    {"a link of the image that leads up", link_in_image_up, {ENOENT}},
    {"out of a chroot with fchdir", chroot_fchdir, {ENOENT, EPERM}},
    {"inherited descriptors", descriptors, {EBADF}},
    {"directories as standard input or output", streams_are_directories, {ENOTDIR}},
    {"a process of the host", host_process, {ESRCH}},
    {"the same in /proc", host_processes_in_proc, {ENOENT}},
    {"all processes in /proc", everything, {ESRCH}},
    {"killing the first process", kill_init, {ESRCH}},
    {"tracing the first process", trace_init, {EPERM}},
    {"being traced", trace_me, {EPERM}},
    {"reading the first process's memory", read_init, {EPERM}},
    {"taking a descriptor of it", steal_descriptor, {EPERM}},
    {"an abstract socket of the host", socket_abstract, {ECONNREFUSED}},
    {"a port of the host", network_loopback, {ECONNREFUSED}},
    {"the network", network_outside, {ENETUNREACH}},
    {"network interfaces", interfaces, {ENODEV}},
    {"a raw socket", socket_raw, {EPERM}},
    {"a socket to a virtual machine's host", socket_machine, {EPERM}},
    {"a socket of the kernel's cryptography", socket_crypto, {EPERM}},
    {"the session's keyring", keys_session, {EPERM}},
    {"the user's keyring", keys_user, {EPERM}},
    {"adding a key", keys_add, {EPERM}},
    {"requesting a key", keys_request, {EPERM}},
    {"the environment", environment, {ENOENT}},
    {"setns", enter_namespace, {EPERM}},
    {"setns, of users", enter_user_namespace, {EPERM}},
    {"a new user namespace", new_user_namespace, {EPERM}},
    {"a new mount namespace", new_mount_namespace, {EPERM}},
    {"a new user namespace by clone", new_namespace_by_clone, {EPERM}},
    {"a new user namespace by clone3", new_namespace_by_clone3, {ENOSYS}},
    {"mount", mounts, {EPERM}},
    {"making /proc/sys writable", mounts_again, {EPERM}},
    {"unmounting what closes /proc/sys", unmounts, {EPERM}},
    {"unmounting a device", unmounts_dev, {EPERM}},
    {"fsopen", mounts_new_way, {EPERM}},
    {"open_tree", clones_tree, {EPERM}},
    {"pivot_root", pivots, {EPERM}},
    {"/proc/sys/kernel/core_pattern", core_pattern, {EROFS, EACCES}},
    {"the host's name", host_name, {EPERM}},
    {"/proc/sysrq-trigger", sysrq, {EROFS, EACCES, ENOENT}},
    {"/proc/kcore", kernel_memory, {ENODATA, EACCES, ENOENT}},
    {"a disk's device node", block_device, {EPERM}},
    {"the memory's device node", memory_device, {EPERM}},
    {"opening a whiteout's device node", whiteout_opens, {EPERM, EACCES, ENXIO}},
    {"devices in /dev", devices, {ENODEV}},
    {"open_by_handle_at", handle, {EPERM}},
    {"typing into the terminal", types_into_terminal, {EPERM}},
    {"the same with bits that the kernel does not look at", types_with_high_bits, {EPERM}},
    {"the console", console, {EPERM}},
    {"the host's terminals", host_terminal, {ENOENT}},
    {"control groups", cgroups, {ENOENT}},
    {"/sys", sys, {ENOENT}},
    {"bpf", kernel_program, {EPERM}},
    {"perf_event_open", performance, {EPERM}},
    {"userfaultfd", page_faults, {EPERM}},
    {"io_uring", rings, {EPERM}},
    {"loading a module", module, {EPERM}},
    {"kexec", other_kernel, {EPERM}},
    {"setting the clock", clock_set, {EPERM}},
    {"reboot", restart, {EPERM}},
    {"the kernel's log", log_read, {EPERM}},
    {"another user", other_user, {EINVAL, EPERM}},
    {"other groups", other_groups, {EPERM, EINVAL}},
    {"new privileges", privileges, {EPERM}},
    {"core dumps", core_limit, {EPERM}},
    {"mount by way of 386", other_calls, {EPERM, ENOSYS}},
    {"mount by way of x32", x32_calls, {ENOSYS}},
};

static int serve(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct sockaddr_in loopback = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int one = socket(AF_UNIX, SOCK_STREAM, 0), two = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    memcpy(address.sun_path + 1, name, strlen(name));
    setsockopt(two, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(one, (void *)&address, offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name)) < 0 || listen(one, 8) < 0) return 2;
    if (bind(two, (void *)&loopback, sizeof loopback) < 0 || listen(two, 8) < 0) return 2;
    // Both can be reached from here: what cannot reach them is kept from it.
    if (socket_abstract() != 0 || network_loopback() != 0) return 2;
    syscall(SYS_add_key, "user", "canary", "secret", 6, -4);
    printf("%d\n", getpid());
    fflush(stdout);
    pause();
    return 0;
}

int main(int count, char **words) {
    if (count == 4 && !strcmp(words[1], "serve")) {
        name = words[2];
        port = atoi(words[3]);
        return serve();
    }
    if (count != 6) return 2;
    file = words[2];
    pid = atoi(words[3]);
    name = words[4];
    port = atoi(words[5]);
    int out = 0;
    for (size_t number = 0; number < sizeof ways / sizeof *ways; number++) {
        int reason = ways[number].try(), right = 0;
        for (int known = 0; known < 4; known++) right |= reason && ways[number].reasons[known] == reason;
        out += !right;
        printf("%s: %s: %s\n", right ? "held" : "OUT", ways[number].way, reason ? strerrorname_np(reason) : "it worked");
    }
    printf("%zu ways, %d out\n", sizeof ways / sizeof *ways, out);
    return out != 0;
}
