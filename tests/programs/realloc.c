// realloc: chains of realloc from known functions. Held at the end:
//   grow     one block of 65536 bytes, after 16, 32, ... bytes
//   shrink   one block of 100 bytes, after 5000 bytes
//   from_0   one block of 77 bytes, made by realloc(NULL, 77)
//   refused  one block of 500 bytes: the realloc that was to grow it failed
// and nothing of to_0 and freed.
#include "step.h"
#include <stdint.h>
#include <stdlib.h>

__attribute__((noinline)) void grow(void) {
  char *p = 0;
  for (size_t n = 16; n <= 65536; n *= 2) p = realloc(p, n);
  sink = p;
  asm volatile("");
}
__attribute__((noinline)) void shrink(void) {
  char *p = malloc(5000);
  sink = p;
  sink = realloc(p, 100);
  asm volatile("");
}
__attribute__((noinline)) void from_0(void) {
  sink = realloc(0, 77);
  asm volatile("");
}
__attribute__((noinline)) void refused(void) {
  void *p = malloc(500);
  sink = p;
  volatile size_t huge = PTRDIFF_MAX;
  if (realloc(p, huge)) _exit(4);
  asm volatile("");
}
__attribute__((noinline)) void to_0(void) {
  void *p = malloc(900);
  sink = p;
  volatile size_t zero = 0;
  sink = realloc(p, zero);
  asm volatile("");
}
__attribute__((noinline)) void freed(void) {
  void *p = malloc(10);
  sink = p;
  p = realloc(p, 100000);
  sink = p;
  free(p);
  asm volatile("");
}

int main(void) {
  step("start");
  grow(), shrink(), from_0(), refused(), to_0(), freed();
  step("done");
}
