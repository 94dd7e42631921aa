p: raw_tp, 19 instructions, stack 16
; begin {
   0: r6 = *(u64 *)(r1 +0)
   1: *(u64 *)(r10 -8) = r6
   2: r7 = *(u64 *)(r1 +8)
   3: r8 = *(u64 *)(r1 +16)
   4: r9 = *(u64 *)(r1 +24)
   5: r6 = *(u64 *)(r1 +32)
   6: call ktime_get_ns#5
   7: *(u64 *)(r10 -16) = r0
   8: call get_smp_processor_id#8
   9: r5 = *(u64 *)(r10 -8)
  10: r5 += r7
  11: r5 += r8
  12: r5 += r9
  13: r5 += r6
  14: r4 = *(u64 *)(r10 -16)
  15: r5 += r4
  16: r5 += r0
  17: r0 = r5
  18: exit
