// frameless HOW N: N times, calls leaf in one of many ways: deep (through functions of its own, one of them recursive), back (from
// the C library), signal (from a handler), aligned (through a function that realigns its stack), thread (of its own), dark
// (through a function without call frame information), plugin (from a library, argv[3], that it loads on the way), fork (in a
// child). Built without frame pointers.
#define _GNU_SOURCE
#include "step.h"
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#define OWN __attribute__((noinline))

OWN void leaf(long n) { asm volatile("" ::"r"(n) : "memory"); }

OWN long recurse(long n) {
  volatile char local[40];
  local[0] = n;
  if (n == 0) leaf(n);
  long r = n == 0 ? 0 : recurse(n - 1) + 1;
  return r + local[0];
}

OWN long deep(long n) {
  long r = recurse(2);
  asm volatile("" : "+r"(r));
  return r + n;
}

OWN int compare(const void *a, const void *b) {
  leaf(0);
  return *(const int *)a - *(const int *)b;
}

OWN void back(void) {
  int two[] = {2, 1};
  qsort(two, 2, sizeof *two, compare);
  asm volatile("" ::"r"(two[0]) : "memory");
}

OWN void handler(int signal) {
  leaf(signal);
  asm volatile("" ::: "memory");
}

OWN void signalled(void) {
  raise(SIGUSR1);
  asm volatile("" ::: "memory");
}

OWN void aligned(long n) {
  _Alignas(64) volatile char block[64];
  volatile char *more = __builtin_alloca(n + 16);
  more[0] = block[0] = n;
  leaf((long)block % 64);
  asm volatile("" ::"r"(more), "r"(block) : "memory");
}

OWN void *thread(void *nothing) {
  leaf(0);
  asm volatile("" ::: "memory");
  return nothing;
}

OWN void called(void) {
  leaf(0);
  asm volatile("" ::: "memory");
}

void dark(void);
asm(".text\n.type dark, @function\ndark:\n  sub $24, %rsp\n  xor %edi, %edi\n  call leaf\n  add $24, %rsp\n  ret\n.size dark, .-dark\n");

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  long n = atol(argv[2]);
  signal(SIGUSR1, handler);
  step("start");
  void (*plugin_work)(void (*)(void)) = 0;
  if (argv[1][0] == 'p') {
    void *library = dlopen(argv[3], RTLD_NOW);
    plugin_work = library ? (void (*)(void (*)(void)))dlsym(library, "plugin_work") : 0;
    if (!plugin_work) return 5;
    step("loaded");
  }
  for (long i = 0; i < n; i++) {
    switch (argv[1][0]) {
    case 'd': argv[1][1] == 'e' ? (void)deep(i) : dark(); break;
    case 'b': back(); break;
    case 's': signalled(); break;
    case 'a': aligned(i); break;
    case 't': {
      pthread_t t;
      pthread_create(&t, 0, thread, 0), pthread_join(t, 0);
      break;
    }
    case 'p': plugin_work(called); break;
    case 'f': {
      pid_t child = fork();
      if (child == 0) step("forked"), deep(i), _exit(0);
      waitpid(child, 0, 0);
      break;
    }
    }
  }
  step("done");
}
