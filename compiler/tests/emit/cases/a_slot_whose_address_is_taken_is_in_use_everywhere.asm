p: raw_tp, 24 instructions, stack 32
; begin {
   0: r0 = *(u64 *)(r1 +0)
   1: *(u64 *)(r10 -16) = r0
   2: *(u64 *)(r10 -8) = r0
   3: r6 = r10
   4: r6 += -16
   5: r6 = -r6
   6: r6 = -r6
   7: *(u64 *)(r10 -32) = 0
   8: *(u64 *)(r10 -24) = 0
   9: r1 = map at_x ll
  11: r2 = r10
  12: r2 += -32
  13: call map_delete_elem#3
  14: r3 = r6
  15: r1 = r10
  16: r1 += -32
  17: r2 = 16
  18: call probe_read_kernel#113
  19: r1 = map at_x ll
  21: r2 = r10
  22: r2 += -32
  23: call map_delete_elem#3
  24: r0 = 0
  25: exit
