// mappings: mmap, mremap and munmap. Held at the end: map_held 40960 bytes, map_grown 81920 bytes (mremap of 8192), map_kept
// 12288 bytes (mremap and munmap of it failed);
// nothing of what was unmapped, and nothing of mappings that were refused. A malloc that maps counts as malloc:
// big_malloc 1000000 bytes.
#define _GNU_SOURCE
#include "step.h"
#include <stdlib.h>
#include <sys/mman.h>

static void *map(size_t size) { return mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); }
__attribute__((noinline)) void map_held(void) {
  sink = map(40960);
  asm volatile("");
}
__attribute__((noinline)) void map_grown(void) {
  void *p = map(8192);
  sink = p;
  sink = mremap(p, 8192, 81920, MREMAP_MAYMOVE);
  asm volatile("");
}
__attribute__((noinline)) void map_kept(void) {
  // a failed mremap and a failed munmap leave the mapping as it is
  void *p = map(12288);
  sink = p;
  if (mremap(p, 12288, 24577, 1 << 20) != MAP_FAILED) _exit(4);
  if (munmap(p, 0) == 0) _exit(4);
  asm volatile("");
}
__attribute__((noinline)) void map_returned(void) {
  void *p = map(20480);
  sink = p;
  munmap(p, 20480);
  if (mmap(0, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED) _exit(4);
  asm volatile("");
}
__attribute__((noinline)) void big_malloc(void) {
  sink = malloc(1000000);
  asm volatile("");
}
__attribute__((noinline)) void big_freed(void) {
  sink = malloc(2000000);
  free(sink);
  asm volatile("");
}

int main(void) {
  step("start");
  map_held(), map_grown(), map_kept(), map_returned(), big_malloc(), big_freed();
  step("done");
}
