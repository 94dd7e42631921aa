// watched N: a byte at a fixed address, 0x10000000, is read and then written N times, every second time by a thread that was
// started meanwhile; then N more bytes beside it are written, which is nobody's business.
#include "step.h"
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

static volatile char *byte = (volatile char *)0x10000000;

static void *touch(void *unused) {
  char c = *byte;
  *byte = c + 1;
  return unused;
}

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  long n = atol(argv[1]);
  void *page = mmap((void *)byte, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  if (page != (void *)byte) return 3;
  step("start");
  for (long i = 0; i < n; i++) {
    pthread_t thread;
    if (i % 2 == 0) touch(0);
    else if (pthread_create(&thread, 0, touch, 0) || pthread_join(thread, 0)) return 4;
    byte[64 + i] = 1;
  }
  step("done");
}
