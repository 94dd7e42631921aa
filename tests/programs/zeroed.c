// zeroed: calloc and reallocarray. Held at the end: calloc_30x40 1200 bytes, reallocarray_50x60 3000 bytes,
// reallocarray_grown 7000 bytes; overflowing calls fail and hold nothing.
#define _GNU_SOURCE
#include "step.h"
#include <stdint.h>
#include <stdlib.h>

__attribute__((noinline)) void calloc_30x40(void) {
  sink = calloc(30, 40);
  asm volatile("");
}
__attribute__((noinline)) void reallocarray_50x60(void) {
  sink = reallocarray(0, 50, 60);
  asm volatile("");
}
__attribute__((noinline)) void reallocarray_grown(void) {
  void *p = reallocarray(0, 10, 10);
  sink = p;
  sink = reallocarray(p, 100, 70);
  asm volatile("");
}

int main(void) {
  step("start");
  calloc_30x40(), reallocarray_50x60(), reallocarray_grown();
  free(calloc(7, 11));
  volatile size_t half = SIZE_MAX / 2;
  if (calloc(half, 3) || reallocarray(0, half, 3)) _exit(4);
  step("done");
}
