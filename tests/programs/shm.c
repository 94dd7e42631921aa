// shm: each System V shared memory call, good and bad; says what it did, so that the trace can be compared:
//   id 1b8004 / at 7fe099431000 / stat 7ffd1012f130
#include "step.h"
#include <sys/shm.h>

int main(void) {
  step("start");
  int id = shmget(IPC_PRIVATE, 49152, IPC_CREAT | 0777);
  void *at = shmat(id, 0, 0), *ro = shmat(id, 0, SHM_RDONLY);
  struct shmid_ds stat;
  int r = shmctl(id, IPC_STAT, &stat);
  r |= shmdt(ro) | shmdt(at) | shmctl(id, IPC_RMID, 0);
  int bad_get = shmget(0x4d656d71, 4096, 0600), bad_at = shmat(id, 0, 0) == (void *)-1;
  int bad_dt = shmdt((void *)0x1000), bad_ctl = shmctl(-1, IPC_STAT, &stat);
  say("pid %d\nid %x\nat %lx\nro %lx\nstat %lx\n", getpid(), id, (long)at, (long)ro, (long)&stat);
  step("done");
  return r != 0 || bad_get != -1 || !bad_at || bad_dt != -1 || bad_ctl != -1;
}
