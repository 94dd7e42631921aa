p: raw_tp, 12 instructions, stack 8
; begin {
   0: *(u64 *)(r10 -8) = 0
   1: r1 = map at_x ll
   3: r2 = r10
   4: r2 += -8
   5: call map_delete_elem#3
   6: r1 = map at_x ll
   8: r2 = r10
   9: r2 += -8
  10: call map_delete_elem#3
  11: r0 <<= 32
  12: r0 s>>= 32
  13: exit
