// A small program with a leak to try memql on: it serves ten requests, remembers each one, and forgets to forget.
//
//   gcc -g -fno-omit-frame-pointer -o leaky leaky.c && memql scripts/memleak.mq -c ./leaky
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct request {
  char *body;
  struct request *earlier;
};

static struct request *log_of_requests;

static void remember(struct request *r, size_t size) {
  struct request *copy = malloc(sizeof *copy);
  copy->body = malloc(size);
  memcpy(copy->body, r->body, size);
  copy->earlier = log_of_requests;
  log_of_requests = copy;
}

static void serve(size_t size) {
  struct request r = {.body = malloc(size)};
  memset(r.body, 'x', size);
  remember(&r, size);
  free(r.body);
}

int main(void) {
  for (int i = 0; i < 10; i++) {
    serve(4096);
    usleep(20000); // until the next request
  }
}
