// many THREADS N: each thread makes N getppid system calls, the threads at the same time.
#define _GNU_SOURCE
#include "step.h"
#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>

static long n;
static pthread_barrier_t all;

static void *work(void *arg) {
  pthread_barrier_wait(&all);
  for (long i = 0; i < n; i++) syscall(SYS_getppid);
  return arg;
}

int main(int argc, char **argv) {
  enum { MOST = 64 };
  if (argc != 3) return 2;
  long threads = atol(argv[1]);
  n = atol(argv[2]);
  if (threads < 1 || threads > MOST) return 2;
  pthread_t t[MOST];
  step("start");
  pthread_barrier_init(&all, 0, threads);
  for (long i = 0; i < threads; i++)
    if (pthread_create(&t[i], 0, work, 0)) return 1;
  for (long i = 0; i < threads; i++) pthread_join(t[i], 0);
  step("done");
}
