// leak COUNT SIZE PAIRS: leaks COUNT blocks of SIZE bytes from leak_block, amid PAIRS blocks that are freed again.
#include "step.h"
#include <stdlib.h>

__attribute__((noinline)) void leak_block(size_t size) {
  sink = malloc(size);
  asm volatile("");
}

__attribute__((noinline)) void use_block(size_t size) {
  sink = malloc(size);
  free(sink);
  asm volatile("");
}

int main(int argc, char **argv) {
  if (argc != 4) return 2;
  long count = atol(argv[1]), size = atol(argv[2]), pairs = atol(argv[3]);
  step("start");
  for (long i = 0; i < count; i++) {
    leak_block(size);
    for (long k = pairs * i / count; k < pairs * (i + 1) / count; k++) use_block(16 + k % 1024);
  }
  step("done");
}
