// threads THREADS COUNT SIZE PAIRS: each thread leaks COUNT blocks of SIZE bytes from leak_in_thread, amid PAIRS blocks
// that the next thread frees.
#include "step.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { MOST = 64 };
static long threads, count, size, pairs;
static void *_Atomic handed[MOST];
static _Thread_local void *volatile mine;

__attribute__((noinline)) void leak_in_thread(void) {
  mine = malloc(size);
  asm volatile("");
}
__attribute__((noinline)) void pass_on(long to, size_t n) {
  free(atomic_exchange(&handed[to], malloc(n)));
  asm volatile("");
}
static void *work(void *arg) {
  long me = (long)arg;
  for (long i = 0; i < count; i++) {
    leak_in_thread();
    for (long k = pairs * i / count; k < pairs * (i + 1) / count; k++) pass_on((me + 1) % threads, 16 + k % 512);
  }
  return 0;
}

int main(int argc, char **argv) {
  if (argc != 5) return 2;
  threads = atol(argv[1]), count = atol(argv[2]), size = atol(argv[3]), pairs = atol(argv[4]);
  if (threads > MOST) return 2;
  pthread_t t[MOST];
  step("start");
  for (long i = 0; i < threads; i++) pthread_create(&t[i], 0, work, (void *)i);
  for (long i = 0; i < threads; i++) pthread_join(t[i], 0);
  for (long i = 0; i < threads; i++) free(atomic_exchange(&handed[i], 0));
  step("done");
}
