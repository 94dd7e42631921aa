// globals N: N calls of `look`, which reads variables of several sizes.
#include "step.h"
#include <stdlib.h>

volatile char one = 'g';
volatile short two = -2;
volatile int four = 0x55555555;
volatile long eight = 0x123456789abcdef0;
const char *volatile text = "in the program";

__attribute__((noinline)) long look(long n) {
  asm volatile("" : "+r"(n));
  return n + one + two + four + eight + text[0];
}

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  long n = atol(argv[1]), sum = 0;
  step("start");
  for (long i = 0; i < n; i++) sum += look(i);
  step("done");
  return sum == 0;
}
