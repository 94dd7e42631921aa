// provoke WHAT N [PATH]: what one of bpftrace's tools looks at, N times. The names of WHAT are in the table at the end.
#define _GNU_SOURCE
#include "step.h"
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/fsuid.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#define PAGE 4096

static long n;
static const char *path;

// Ends with what failed and why.
static long must(long result, const char *what) {
  if (result >= 0) return result;
  say("%s: %s\n", what, strerror(errno));
  _exit(1);
}

static void *page(void) {
  void *at = 0;
  must(-posix_memalign(&at, PAGE, PAGE), "memory");
  memset(at, 'm', PAGE);
  return at;
}

// N reads of a page each that the disk must answer, each from its own place in PATH.
static void disk(void) {
  int file = must(open(path, O_RDONLY | O_DIRECT), path);
  char *at = page();
  for (long i = 0; i < n; i++) must(pread(file, at, PAGE, i * 16 * PAGE), "pread");
}

// PATH of N pages, written and synchronized in several ways.
static void synced(void) {
  int file = must(open(path, O_RDWR | O_CREAT | O_TRUNC, 0600), path);
  for (long i = 0; i < n; i++) must(write(file, page(), PAGE), "write");
  must(fsync(file), "fsync");
  must(fdatasync(file), "fdatasync");
  must(sync_file_range(file, 0, PAGE, SYNC_FILE_RANGE_WRITE), "sync_file_range");
  char *mapped = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  mapped[0] = 'x';
  must(msync(mapped, PAGE, MS_SYNC), "msync");
  must(pwrite(file, "y", 1, PAGE), "pwrite");
  must(syncfs(file), "syncfs");
}

// PATH is made, written, read back, synchronized and left in place, N times.
static void file(void) {
  for (long i = 0; i < n; i++) {
    int file = must(open(path, O_RDWR | O_CREAT, 0600), path);
    char *at = page();
    must(pwrite(file, at, PAGE, 0), "pwrite");
    must(pread(file, at, PAGE, 0), "pread");
    must(fsync(file), "fsync");
    close(file);
  }
}

static void synced_device(void) {
  int device = must(open(path, O_WRONLY), path);
  for (long i = 0; i < n; i++) {
    must(pwrite(device, page(), PAGE, 0), "pwrite");
    must(fsync(device), "fsync");
  }
}

static void dirs(void) {
  for (long i = 0; i < n; i++) {
    must(mkdir(path, 0700), path);
    must(rmdir(path), path);
  }
}

static void nodes(void) {
  for (long i = 0; i < n; i++) {
    must(mknod(path, S_IFREG | 0600, 0), path);
    must(unlink(path), path);
  }
}

static void looks(void) {
  struct stat seen;
  for (long i = 0; i < n; i++) syscall(SYS_stat, "/no/such/place", &seen);
}

static void stats(void) {
  struct stat seen;
  struct statfs of;
  char extended[256];
  for (long i = 0; i < n; i++) {
    syscall(SYS_stat, "/proc", &seen);
    syscall(SYS_lstat, "/no/such/file", &seen);
    syscall(SYS_statfs, "/proc", &of);
    syscall(SYS_statx, AT_FDCWD, "/dev/null", 0, 0, extended);
  }
}

static void opens(void) {
  must(chdir("/proc/self"), "chdir");
  for (long i = 0; i < n; i++) {
    close(must(syscall(SYS_open, "/dev/null", O_RDONLY), "open"));
    close(must(syscall(SYS_openat, AT_FDCWD, "/dev/zero", O_RDONLY), "openat"));
    close(must(syscall(SYS_openat, AT_FDCWD, "comm", O_RDONLY), "openat"));
    syscall(SYS_openat, AT_FDCWD, "/no/such/file", O_RDONLY);
  }
}

static void execs(void) {
  // On the stack: pages of the program's file are not there in a new child until it touches them, so that no probe can read them.
  char program[] = "/bin/true", one[] = "true", two[] = "one two", three[] = "three", *args[] = {one, two, three, 0};
  for (long i = 0; i < n; i++) {
    pid_t child = must(fork(), "fork");
    if (child == 0) execv(program, args), _exit(4);
    waitpid(child, 0, 0);
  }
}

static void forks(void) {
  for (long i = 0; i < n; i++) {
    pid_t child = must(fork(), "fork");
    if (child == 0) _exit(0);
    waitpid(child, 0, 0);
  }
}

static void hosts(void) {
  struct addrinfo *found;
  for (long i = 0; i < n; i++) {
    if (getaddrinfo("127.0.0.1", 0, 0, &found) == 0) freeaddrinfo(found);
    gethostbyname("127.0.0.2");
    gethostbyname2("127.0.0.3", AF_INET);
  }
}

static void kills(void) {
  signal(SIGUSR1, SIG_IGN), signal(SIGRTMAX, SIG_IGN);
  for (long i = 0; i < n; i++) {
    syscall(SYS_kill, getpid(), SIGUSR1);
    syscall(SYS_tkill, getpid(), 0);
    syscall(SYS_tgkill, getpid(), getpid(), SIGRTMAX);
    syscall(SYS_kill, 1 << 28, SIGTERM);
  }
}

static void names(void) {
  char name[64];
  must(gethostname(name, sizeof name), "gethostname");
  for (long i = 0; i < n; i++) must(sethostname(name, strlen(name)), "sethostname");
}

static void sleeps(void) {
  struct timespec briefly = {0, 5000000};
  for (long i = 0; i < n; i++) {
    syscall(SYS_nanosleep, &briefly, 0);
    syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &briefly, 0);
  }
}

static void uids(void) {
  for (long i = 0; i < n; i++) {
    setuid(0), setfsuid(0), setresuid(0, -1, 0);
    setfsuid(77), setfsuid(0);
  }
}

static void calls(void) {
  for (long i = 0; i < n; i++) syscall(SYS_getppid);
}

// Two processes on one CPU that wait for each other N times.
static void turns(void) {
  int there[2], back[2];
  char c = 'c';
  must(pipe(there), "pipe"), must(pipe(back), "pipe");
  unsigned long first_cpu = 1;
  must(syscall(SYS_sched_setaffinity, 0, sizeof first_cpu, &first_cpu), "sched_setaffinity");
  pid_t child = must(fork(), "fork");
  for (long i = 0; i < n; i++) {
    if (child) must(write(there[1], &c, 1), "write"), must(read(back[0], &c, 1), "read");
    else must(read(there[0], &c, 1), "read"), must(write(back[1], &c, 1), "write");
  }
  if (!child) _exit(0);
  waitpid(child, 0, 0);
}

// N milliseconds of work in user space, in two processes.
static void spins(void) {
  pid_t child = must(fork(), "fork");
  struct timespec from, now;
  clock_gettime(CLOCK_MONOTONIC, &from);
  do clock_gettime(CLOCK_MONOTONIC, &now);
  while ((now.tv_sec - from.tv_sec) * 1000 + (now.tv_nsec - from.tv_nsec) / 1000000 < n);
  if (!child) _exit(0);
  waitpid(child, 0, 0);
}

static void *begins(void *nothing) { return nothing; }

static void threads(void) {
  pthread_t thread;
  for (long i = 0; i < n; i++) {
    must(-pthread_create(&thread, 0, begins, 0), "pthread_create");
    pthread_join(thread, 0);
  }
}

// N pages are swapped out and read again.
static void swaps(void) {
  char *pages = mmap(0, n * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  for (long i = 0; i < n; i++) memset(pages + i * PAGE, 1 + i % 100, PAGE);
  must(madvise(pages, n * PAGE, MADV_PAGEOUT), "MADV_PAGEOUT");
  for (long i = 0; i < n; i++) must(pages[i * PAGE] == 1 + i % 100 ? 0 : -1, "a page came back changed");
}

// N messages through a pair of Unix sockets.
static void sockets(void) {
  int pair[2];
  char got[64];
  must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), "socketpair");
  for (long i = 0; i < n; i++) {
    must(write(pair[0], "hello\n\x01", 7), "write");
    must(read(pair[1], got, sizeof got), "read");
  }
}

// A socket of this address of the loopback network.
static int bound(unsigned host, struct sockaddr_in *at) {
  socklen_t size = sizeof *at;
  int one = must(socket(AF_INET, SOCK_STREAM, 0), "socket");
  *at = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK - 1 + host)};
  must(bind(one, (void *)at, size), "bind");
  must(getsockname(one, (void *)at, &size), "getsockname");
  return one;
}

// N connections, each used and closed by the one that made it.
static void connections(void) {
  struct sockaddr_in at;
  int listener = bound(1, &at);
  must(listen(listener, 99), "listen");
  char got[8000];
  for (long i = 0; i < n; i++) {
    int from = must(socket(AF_INET, SOCK_STREAM, 0), "socket");
    must(connect(from, (void *)&at, sizeof at), "connect");
    int to = must(accept(listener, 0, 0), "accept");
    memset(got, 'm', sizeof got);
    must(write(from, got, 5000), "write");
    must(recv(to, got, 5000, MSG_WAITALL), "recv");
    must(write(to, got, 3000), "write");
    must(recv(from, got, 3000, MSG_WAITALL), "recv");
    close(from);
    must(recv(to, got, 1, 0), "recv");
    close(to);
  }
}

// N connections that nobody takes.
static void backlog(void) {
  struct sockaddr_in at;
  must(listen(bound(1, &at), 77), "listen");
  for (long i = 0; i < n; i++) must(connect(must(socket(AF_INET, SOCK_STREAM, 0), "socket"), (void *)&at, sizeof at), "connect");
}

// A connection from 127.0.0.3 to 127.0.0.2; gives the end that connected, and in `to` the other.
static int connected(int *to) {
  struct sockaddr_in at, unused;
  int listener = bound(2, &at), from = bound(3, &unused);
  must(listen(listener, 1), "listen");
  must(connect(from, (void *)&at, sizeof at), "connect");
  *to = must(accept(listener, 0, 0), "accept");
  return from;
}

// A byte that the other end does not take, until it has been sent again N times.
static void lost(void) {
  int to, from = connected(&to);
  struct sock_filter nothing = BPF_STMT(BPF_RET | BPF_K, 0);
  struct sock_fprog filter = {1, &nothing};
  must(setsockopt(to, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter), "SO_ATTACH_FILTER");
  must(write(from, "x", 1), "write");
  struct tcp_info of;
  do {
    socklen_t size = sizeof of;
    usleep(10000);
    must(getsockopt(from, IPPROTO_TCP, TCP_INFO, &of, &size), "TCP_INFO");
  } while (of.tcpi_retransmits < n);
}

// N bytes for which there is no way any more, in a network of its own.
static void dropped(void) {
  must(unshare(CLONE_NEWNET), "unshare");
  must(-system("busybox ip link set lo up"), "ip link");
  int to, from = connected(&to);
  must(-system("busybox ip route add blackhole 127.0.0.2/32 table local"), "ip route");
  for (long i = 0; i < n; i++) must(write(from, "x", 1), "write");
}

// One TLS connection through a pair of sockets, with a message that is written and read N times. libssl is opened by hand, so
// that its headers are not needed; the ciphers are those that need no certificate.
static void tls(void) {
  void *ssl = dlopen("libssl.so.3", RTLD_NOW);
  must(ssl ? 0 : -1, "libssl.so.3");
#define F(result, name, ...) result (*name)(__VA_ARGS__) = (result (*)(__VA_ARGS__))dlsym(ssl, #name)
  F(void *, TLS_method, void);
  F(void *, SSL_CTX_new, void *);
  F(int, SSL_CTX_set_cipher_list, void *, const char *);
  F(long, SSL_CTX_ctrl, void *, int, long, void *);
  F(void *, SSL_new, void *);
  F(int, SSL_set_fd, void *, int);
  F(void, SSL_set_accept_state, void *);
  F(void, SSL_set_connect_state, void *);
  F(int, SSL_do_handshake, void *);
  F(int, SSL_write, void *, const void *, int);
  F(int, SSL_read, void *, void *, int);
  int pair[2];
  char got[64];
  must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), "socketpair");
  void *settings = SSL_CTX_new(TLS_method());
  must(SSL_CTX_set_cipher_list(settings, "aNULL:@SECLEVEL=0") == 1 ? 0 : -1, "ciphers");
  SSL_CTX_ctrl(settings, 124 /* SSL_CTRL_SET_MAX_PROTO_VERSION */, 0x303 /* TLS 1.2 */, 0);
  SSL_CTX_ctrl(settings, 118 /* SSL_CTRL_SET_DH_AUTO */, 1, 0);
  pid_t child = must(fork(), "fork");
  void *side = SSL_new(settings);
  SSL_set_fd(side, pair[!child]); // the parent's is the first
  if (child) SSL_set_connect_state(side);
  else SSL_set_accept_state(side);
  must(SSL_do_handshake(side) == 1 ? 0 : -1, "SSL_do_handshake");
  close(pair[!!child]);
  for (long i = 0; i < n; i++) {
    if (child) must(SSL_write(side, "hello", 5) == 5 ? 0 : -1, "SSL_write");
    else must(SSL_read(side, got, sizeof got) == 5 ? 0 : -1, "SSL_read");
  }
  // The child says that it has read all, and stays as long as its parent does.
  if (child) must(read(pair[0], got, 1) == 1 ? 0 : -1, "the other side");
  else must(write(pair[1], "x", 1), "write"), must(read(pair[1], got, 1), "read"), _exit(0);
}

static const struct {
  const char *name;
  void (*run)(void);
} table[] = {
    {"backlog", backlog}, {"calls", calls}, {"connections", connections}, {"device", synced_device}, {"dirs", dirs},
    {"disk", disk},       {"dropped", dropped}, {"execs", execs}, {"file", file},               {"forks", forks},          {"hosts", hosts},
    {"kills", kills},     {"looks", looks}, {"lost", lost},               {"names", names},          {"nodes", nodes},
    {"opens", opens},     {"sleeps", sleeps}, {"sockets", sockets},       {"spins", spins},          {"stats", stats},
    {"swaps", swaps},     {"synced", synced}, {"threads", threads},       {"tls", tls},              {"turns", turns},
    {"uids", uids},
};

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  n = atol(argv[2]), path = argc > 3 ? argv[3] : 0;
  for (unsigned i = 0; i < sizeof table / sizeof *table; i++) {
    if (strcmp(table[i].name, argv[1])) continue;
    step("start");
    table[i].run();
    step("done");
    return 0;
  }
  return 2;
}
