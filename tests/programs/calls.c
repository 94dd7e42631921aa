// calls NAME N: something countable, N times: getppid, umask (of 022), open (of /dev/null), fault (first touch of a page; a
// getppid before the first and after the last), exec (of /bin/true), depth (200 calls within each other), or `args`, calls of the
// functions below, which probes look into.
#define _GNU_SOURCE
#include "step.h"
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

struct inner {
  short small;
  char name[16];
};
struct point {
  int x, y;
  struct inner in;
  struct point *next;
};

__attribute__((noinline)) long six_args(long a, long b, long c, long d, long e, long f) {
  asm volatile("" ::"r"(a), "r"(b), "r"(c), "r"(d), "r"(e), "r"(f));
  return a + b + c + d + e + f;
}
__attribute__((noinline)) const char *text_arg(const char *text) {
  asm volatile("" ::"r"(text));
  return text;
}
__attribute__((noinline)) int negative(int x) {
  asm volatile("" ::"r"(x));
  return -x;
}
__attribute__((noinline)) long struct_arg(struct point *p) {
  asm volatile("" ::"r"(p) : "memory");
  return p->x;
}
__attribute__((noinline)) long depth(long n) {
  long r = n == 0 ? 0 : depth(n - 1) + 1;
  asm volatile("" : "+r"(r));
  return r;
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  long n = atol(argv[2]);
  char *pages = mmap(0, (n + 1) * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  madvise(pages, (n + 1) * 4096, MADV_NOHUGEPAGE);
  step("start");
  if (argv[1][0] == 'f') syscall(SYS_getppid);
  for (long i = 0; i < n; i++) {
    switch (argv[1][0]) {
    case 'g': syscall(SYS_getppid); break;
    case 'u': umask(022); break;
    case 'o': close(open("/dev/null", O_RDONLY)); break;
    case 'f': pages[i * 4096] = 1; break;
    case 'd': depth(200); break;
    case 'e': {
      pid_t child = fork();
      if (child == 0) execl("/bin/true", "true", "one two", (char *)0), _exit(4);
      waitpid(child, 0, 0);
      break;
    }
    case 'a': {
      struct point far = {30, 40, {5, "far"}, 0}, near = {10, -20, {-3, "near"}, &far};
      six_args(i, i + 1, i + 2, i + 3, i + 4, i + 5), text_arg("sixteen tons"), negative(7), struct_arg(&near), depth(3);
      break;
    }
    }
  }
  if (argv[1][0] == 'f') syscall(SYS_getppid);
  step("done");
}
