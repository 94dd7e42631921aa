// pairs HELD STACKS: holds HELD blocks of 64 bytes, allocated from STACKS different stacks, and says `held`; then for each
// line of input, a number, that many pairs of malloc and free, and prints the nanoseconds of one pair.
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static void *volatile sink;

// The bits of `path` choose the callers: 2^17 stacks.
__attribute__((noinline)) static void hold(unsigned path, int depth);
__attribute__((noinline)) static void left(unsigned path, int depth) { hold(path, depth); __asm__ volatile(""); }
__attribute__((noinline)) static void right(unsigned path, int depth) { hold(path, depth); __asm__ volatile(""); }
static void hold(unsigned path, int depth) {
  if (depth == 0) {
    sink = malloc(64);
  } else if (path & 1) {
    right(path >> 1, depth - 1);
  } else {
    left(path >> 1, depth - 1);
  }
  __asm__ volatile("");
}

int main(int argc, char **argv) {
  long held = argc > 1 ? atol(argv[1]) : 0, stacks = argc > 2 ? atol(argv[2]) : 1;
  char line[64];
  setvbuf(stdout, NULL, _IONBF, 0);
  puts("ready");
  if (!fgets(line, sizeof line, stdin)) return 0;
  for (long i = 0; i < held; i++) hold(i % stacks, 17);
  puts("held");
  while (fgets(line, sizeof line, stdin)) {
    long n = atol(line);
    struct timespec a, b;
    clock_gettime(CLOCK_MONOTONIC, &a);
    for (long i = 0; i < n; i++) {
      sink = malloc(16 + (i & 1023));
      free((void *)sink);
    }
    clock_gettime(CLOCK_MONOTONIC, &b);
    printf("%.1f\n", ((b.tv_sec - a.tv_sec) * 1e9 + (b.tv_nsec - a.tv_nsec)) / n);
  }
}
