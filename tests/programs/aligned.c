// aligned: one block held and one freed of each aligned allocator; the function's name says which, its number how large.
// posix_memalign also fails twice (bad alignment, too large).
#define _GNU_SOURCE
#include "step.h"
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>

#define HOLD(name, allocate)                           \
  __attribute__((noinline)) void name(void) {          \
    void *p = allocate;                                \
    sink = p;                                          \
    asm volatile("");                                  \
  }
static void *posix(size_t align, size_t size) {
  void *p = (void *)0x1234;
  return posix_memalign(&p, align, size) == 0 ? p : 0;
}
HOLD(posix_memalign_1001, posix(64, 1001))
HOLD(aligned_alloc_2048, aligned_alloc(128, 2048))
HOLD(memalign_3003, memalign(256, 3003))
HOLD(valloc_4004, valloc(4004))
HOLD(pvalloc_5005, pvalloc(5005))

int main(void) {
  step("start");
  posix_memalign_1001(), aligned_alloc_2048(), memalign_3003(), valloc_4004(), pvalloc_5005();
  free(posix(64, 6006)), free(aligned_alloc(128, 6144)), free(memalign(256, 6006)), free(valloc(6006)), free(pvalloc(6006));
  if (posix(3, 7007) || posix(64, PTRDIFF_MAX)) _exit(4);
  step("done");
}
