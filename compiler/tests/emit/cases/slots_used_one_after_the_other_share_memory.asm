p: raw_tp, 22 instructions, stack 24
; begin {
   0: r6 = *(u64 *)(r1 +0)
   1: *(u64 *)(r10 -24) = r6
   2: *(u64 *)(r10 -16) = 0
   3: *(u64 *)(r10 -8) = 0
   4: r1 = map at_x ll
   6: r2 = r10
   7: r2 += -16
   8: r3 = r10
   9: r3 += -24
  10: r4 = 0
  11: call map_update_elem#2
  12: *(u64 *)(r10 -16) = r6
  13: *(u64 *)(r10 -8) = r6
  14: r1 = map at_x ll
  16: r2 = r10
  17: r2 += -16
  18: r3 = r10
  19: r3 += -24
  20: r4 = 0
  21: call map_update_elem#2
  22: r0 = 0
  23: exit
