// Lets a test say when each part of a program runs: `step` writes its name on a line and waits for a line; at the end of
// the input it goes on. `say` writes text. Neither allocates, as stdio would.
#pragma once
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static inline void say(const char *format, ...) {
  char line[256];
  va_list args;
  va_start(args, format);
  int n = vsnprintf(line, sizeof line, format, args);
  va_end(args);
  for (int done = 0; done < n;) {
    int k = write(1, line + done, n - done);
    if (k <= 0) _exit(3);
    done += k;
  }
}

static inline void step(const char *name) {
  say("%s\n", name);
  char c;
  while (read(0, &c, 1) == 1 && c != '\n');
}

// Keeps the compiler from seeing that a block is never used.
static void *volatile sink;
