// calls N [RATE]: getppid, N times (0: until killed), RATE times a second (0: as fast as can be); prints the nanoseconds of
// one, without the waiting.
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e9 + t.tv_nsec;
}

// In bursts of a millisecond's worth: what a second gets comes evenly.
static double at_rate(long n, long rate) {
  double start = now(), inside = 0;
  long burst = rate / 1000 > 0 ? rate / 1000 : 1;
  for (long done = 0; done < n;) {
    double due = start + done * 1e9 / rate, before = now();
    if (before < due) {
      double wait = due - before;
      struct timespec t = {wait / 1e9, (long)wait % 1000000000};
      nanosleep(&t, NULL);
      continue;
    }
    for (long i = 0; i < burst && done < n; i++, done++) syscall(SYS_getppid);
    inside += now() - before;
  }
  return inside;
}

int main(int argc, char **argv) {
  long n = argc > 1 ? atol(argv[1]) : 0, rate = argc > 2 ? atol(argv[2]) : 0;
  double took, start = now();
  if (rate > 0) {
    took = at_rate(n, rate);
  } else {
    for (long i = 0; n == 0 || i < n; i++) syscall(SYS_getppid);
    took = now() - start;
  }
  printf("%.1f\n", took / n);
}
