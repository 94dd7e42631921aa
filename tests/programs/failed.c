// failed: 100 calls of each allocator that must fail, beside 7 blocks of 70 bytes that are held (held_block).
#define _GNU_SOURCE
#include "step.h"
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

__attribute__((noinline)) void held_block(void) {
  sink = malloc(70);
  asm volatile("");
}

int main(void) {
  volatile size_t huge = PTRDIFF_MAX;
  void *p;
  step("start");
  for (int i = 0; i < 100; i++) {
    if (malloc(huge) || calloc(huge, 2) || realloc(0, huge) || reallocarray(0, huge, 2)) _exit(4);
    if (aligned_alloc(64, huge & ~63ul) || memalign(64, huge) || valloc(huge) || pvalloc(huge)) _exit(4);
    if (posix_memalign(&p, 64, huge) == 0 || mmap(0, huge, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED) _exit(4);
    if (i < 7) held_block();
  }
  step("done");
}
