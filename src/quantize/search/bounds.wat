;; Bounds of the errors of a group of weights on many scales without offsets, in f32, eight scales at a time (group-fit.ts). It shares the
;; memory of fit.wat. `npx tsx scripts/wasm.ts` makes bounds-wasm.ts from it.
;;
;; With t = w / scale, q the nearest level and d = t - q, the error is scale^2 E with E = sum of h d^2, and with the best scale for the same
;; codes scale^2 (E - C^2 / A) with C = sum of h q d and A = sum of h q^2. In f32 t is off by at most 2^-23 |t|, so that E, C^2 / A and their
;; sums of n terms are off by less than 2^-22 (n + 16) E + 2^-20 sqrt(E A) + 2^-41 A, and the root is at most 6 E + A / 24. That supposes
;; the right codes: where a value is so close to the middle of two levels that f32 may have the wrong one, a scale has no bounds.
(module
  (import "fit" "memory" (memory 2))

  ;; 1 / scale of the four scales at byte `at`
  (func $inverses (param $at i32) (result v128)
    (i8x16.shuffle 0 1 2 3 4 5 6 7 16 17 18 19 20 21 22 23
      (f32x4.demote_f64x2_zero (f64x2.div (f64x2.splat (f64.const 1)) (v128.load offset=4096 (local.get $at))))
      (f32x4.demote_f64x2_zero (f64x2.div (f64x2.splat (f64.const 1)) (v128.load offset=4112 (local.get $at))))))

  ;; Squares of the four scales at byte `at` relative to that of the scale 1 / `inverse`.
  (func $squares (param $at i32) (param $inverse f64) (result v128)
    (local $first v128) (local $second v128)
    (local.set $first (f64x2.mul (v128.load offset=4096 (local.get $at)) (f64x2.splat (local.get $inverse))))
    (local.set $second (f64x2.mul (v128.load offset=4112 (local.get $at)) (f64x2.splat (local.get $inverse))))
    (i8x16.shuffle 0 1 2 3 4 5 6 7 16 17 18 19 20 21 22 23
      (f32x4.demote_f64x2_zero (f64x2.mul (local.get $first) (local.get $first)))
      (f32x4.demote_f64x2_zero (f64x2.mul (local.get $second) (local.get $second)))))

  ;; Entries of the table: the levels nearest to four values, given half steps above the least level, as floats of the size of 2^23.
  (func $levels (param $steps v128) (param $first i32) (result v128)
    (local.set $steps (i32x4.shl (i32x4.sub (local.get $steps) (i32x4.splat (local.get $first))) (i32.const 2)))
    (v128.load32_lane offset=20480 3 (i32x4.extract_lane 3 (local.get $steps))
      (v128.load32_lane offset=20480 2 (i32x4.extract_lane 2 (local.get $steps))
        (v128.load32_lane offset=20480 1 (i32x4.extract_lane 1 (local.get $steps))
          (v128.load32_zero offset=20480 (i32x4.extract_lane 0 (local.get $steps)))))))

  ;; Writes the lower bounds of the four scales at byte `at`, times their squares. A comparison with a lower bound that is not a
  ;; number fails. @returns the upper bounds
  (func $bound
    (param $at i32) (param $square v128) (param $refit f32) (param $k f32) (param $known v128)
    (param $e v128) (param $c v128) (param $a v128) (result v128)
    (local $margin v128)
    (local.set $margin
      (f32x4.add
        (f32x4.mul (f32x4.splat (local.get $k)) (local.get $e))
        (f32x4.mul (f32x4.splat (f32.const 0x1p-24)) (local.get $a))))
    (local.set $e
      (f32x4.sub
        (local.get $e)
        (f32x4.mul
          (f32x4.splat (local.get $refit))
          (f32x4.div
            (f32x4.mul (local.get $c) (local.get $c))
            (f32x4.pmax (local.get $a) (f32x4.splat (f32.const 1e-30)))))))
    (v128.store offset=24576 (i32.shr_u (local.get $at) (i32.const 1))
      (v128.bitselect
        (f32x4.mul (f32x4.sub (local.get $e) (local.get $margin)) (local.get $square))
        (f32x4.splat (f32.const -inf))
        (local.get $known)))
    ;; Not a number becomes infinity.
    (f32x4.pmin
      (f32x4.splat (f32.const inf))
      (v128.bitselect
        (f32x4.mul (f32x4.add (local.get $e) (local.get $margin)) (local.get $square))
        (f32x4.splat (f32.const inf))
        (local.get $known))))

  (func $min (param $four v128) (result f32)
    (f32.min
      (f32.min (f32x4.extract_lane 0 (local.get $four)) (f32x4.extract_lane 1 (local.get $four)))
      (f32.min (f32x4.extract_lane 2 (local.get $four)) (f32x4.extract_lane 3 (local.get $four)))))

  ;; Of the first `count` scales keeps those, in their order, whose error may be the least, and returns their number. Up to the next
  ;; multiple of eight there must be scales too. The last one is not 0; a scale of 0 is kept.
  ;; @param first the bits of 1.5 * 2^23 plus twice the least level
  ;; @param near square of the distance from an integer, or of half a step, from which a code is not known
  ;; @param refit 1 for errors with the best scales for the same codes, 0 for those with the scales themselves
  ;; @param begin index of the scale that is tried first, a multiple of eight: where the best one is likely to be
  ;; @param large bytes of the first weights, whose errors are enough to rule most scales out
  (func (export "prune")
    (param $count i32) (param $from i32) (param $to i32) (param $lo f32) (param $hi f32) (param $last i32) (param $first i32)
    (param $near f32) (param $refit f32) (param $begin i32) (param $large i32) (result i32)
    (local $at i32) (local $i i32) (local $end i32) (local $upper v128) (local $kept i32) (local $bound f32) (local $unit f64)
    (local $k f32) (local $squareA v128) (local $squareB v128)
    (local $w v128) (local $h v128) (local $least v128) (local $low v128) (local $high v128) (local $hq v128) (local $d v128)
    (local $inverseA v128) (local $tA v128) (local $qA v128) (local $nearA v128) (local $eA v128) (local $cA v128) (local $aA v128)
    (local $inverseB v128) (local $tB v128) (local $qB v128) (local $nearB v128) (local $eB v128) (local $cB v128) (local $aB v128)
    (local.set $k
      (f32.mul
        (f32.convert_i32_s (i32.add (i32.sub (local.get $to) (local.get $from)) (i32.const 40)))
        (f32.const 0x1p-22)))
    (local.set $least (f32x4.splat (f32.const inf)))
    (local.set $low (f32x4.splat (local.get $lo)))
    (local.set $high (f32x4.splat (local.get $hi)))
    (if (i32.ge_s (local.get $last) (i32.const 0))
      (then
        (local.set $low (f32x4.add (local.get $low) (local.get $low)))
        (local.set $high (f32x4.add (local.get $high) (local.get $high)))))
    (local.set $from (i32.shl (local.get $from) (i32.const 2)))
    (local.set $to (i32.shl (local.get $to) (i32.const 2)))
    (local.set $count (i32.shl (local.get $count) (i32.const 3)))
    (local.set $unit (f64.div (f64.const 1) (f64.load offset=4088 (local.get $count))))
    (local.set $begin (i32.shl (local.get $begin) (i32.const 3)))
    (local.set $at (local.get $begin))
    (loop $scales
      (local.set $inverseA (call $inverses (local.get $at)))
      (local.set $inverseB (call $inverses (i32.add (local.get $at) (i32.const 32))))
      (local.set $squareA (call $squares (local.get $at) (local.get $unit)))
      (local.set $squareB (call $squares (i32.add (local.get $at) (i32.const 32)) (local.get $unit)))
      (local.set $nearA (f32x4.splat (f32.const 0)))
      (local.set $eA (f32x4.splat (f32.const 0)))
      (local.set $cA (f32x4.splat (f32.const 0)))
      (local.set $aA (f32x4.splat (f32.const 0)))
      (local.set $nearB (f32x4.splat (f32.const 0)))
      (local.set $eB (f32x4.splat (f32.const 0)))
      (local.set $cB (f32x4.splat (f32.const 0)))
      (local.set $aB (f32x4.splat (f32.const 0)))
      (local.set $i (local.get $from))
      (local.set $end (i32.add (local.get $from) (local.get $large)))
      (block $done
       (loop $part
          (loop $weights
            (local.set $w (v128.load32_splat offset=22528 (local.get $i)))
            (local.set $h (v128.load32_splat offset=23552 (local.get $i)))
            (local.set $tA (f32x4.mul (local.get $w) (local.get $inverseA)))
            (local.set $tB (f32x4.mul (local.get $w) (local.get $inverseB)))
            (if (i32.lt_s (local.get $last) (i32.const 0))
              (then
                (local.set $qA (f32x4.nearest (local.get $tA)))
                (local.set $d (f32x4.sub (local.get $tA) (local.get $qA)))
                (local.set $nearA (f32x4.pmax (local.get $nearA) (f32x4.mul (local.get $d) (local.get $d))))
                (local.set $qA (f32x4.pmin (f32x4.pmax (local.get $qA) (local.get $low)) (local.get $high)))
                (local.set $qB (f32x4.nearest (local.get $tB)))
                (local.set $d (f32x4.sub (local.get $tB) (local.get $qB)))
                (local.set $nearB (f32x4.pmax (local.get $nearB) (f32x4.mul (local.get $d) (local.get $d))))
                (local.set $qB (f32x4.pmin (f32x4.pmax (local.get $qB) (local.get $low)) (local.get $high))))
              (else
                ;; Operands are in an order in which not a number becomes a level.
                (local.set $qA
                  (f32x4.pmin
                    (local.get $high)
                    (f32x4.pmax
                      (local.get $low)
                      (f32x4.sub (f32x4.add (local.get $tA) (local.get $tA)) (f32x4.splat (f32.const 0.5))))))
                (local.set $hq (f32x4.add (local.get $qA) (f32x4.splat (f32.const 12582912))))
                (local.set $d
                  (f32x4.sub (local.get $qA) (f32x4.sub (local.get $hq) (f32x4.splat (f32.const 12582912)))))
                (local.set $nearA (f32x4.pmax (local.get $nearA) (f32x4.mul (local.get $d) (local.get $d))))
                (local.set $qA (call $levels (local.get $hq) (local.get $first)))
                (local.set $qB
                  (f32x4.pmin
                    (local.get $high)
                    (f32x4.pmax
                      (local.get $low)
                      (f32x4.sub (f32x4.add (local.get $tB) (local.get $tB)) (f32x4.splat (f32.const 0.5))))))
                (local.set $hq (f32x4.add (local.get $qB) (f32x4.splat (f32.const 12582912))))
                (local.set $d
                  (f32x4.sub (local.get $qB) (f32x4.sub (local.get $hq) (f32x4.splat (f32.const 12582912)))))
                (local.set $nearB (f32x4.pmax (local.get $nearB) (f32x4.mul (local.get $d) (local.get $d))))
                (local.set $qB (call $levels (local.get $hq) (local.get $first)))))
            (local.set $d (f32x4.sub (local.get $tA) (local.get $qA)))
            (local.set $hq (f32x4.mul (local.get $h) (local.get $qA)))
            (local.set $aA (f32x4.add (local.get $aA) (f32x4.mul (local.get $hq) (local.get $qA))))
            (local.set $cA (f32x4.add (local.get $cA) (f32x4.mul (local.get $hq) (local.get $d))))
            (local.set $eA
              (f32x4.add (local.get $eA) (f32x4.mul (f32x4.mul (local.get $h) (local.get $d)) (local.get $d))))
            (local.set $d (f32x4.sub (local.get $tB) (local.get $qB)))
            (local.set $hq (f32x4.mul (local.get $h) (local.get $qB)))
            (local.set $aB (f32x4.add (local.get $aB) (f32x4.mul (local.get $hq) (local.get $qB))))
            (local.set $cB (f32x4.add (local.get $cB) (f32x4.mul (local.get $hq) (local.get $d))))
            (local.set $eB
              (f32x4.add (local.get $eB) (f32x4.mul (f32x4.mul (local.get $h) (local.get $d)) (local.get $d))))
            (br_if $weights (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 4))) (local.get $end))))
        (local.set $upper
          (call $bound
            (local.get $at)
            (local.get $squareA) (local.get $refit) (local.get $k)
            (f32x4.lt (local.get $nearA) (f32x4.splat (local.get $near)))
            (local.get $eA) (local.get $cA) (local.get $aA)))
        (local.set $upper
          (f32x4.pmin
            (local.get $upper)
            (call $bound
              (i32.add (local.get $at) (i32.const 32))
              (local.get $squareB) (local.get $refit) (local.get $k)
              (f32x4.lt (local.get $nearB) (f32x4.splat (local.get $near)))
              (local.get $eB) (local.get $cB) (local.get $aB))))
        (if (i32.lt_u (local.get $end) (local.get $to))
          (then
            ;; The rest of the weights only adds to these errors.
            (br_if $done
              (i32x4.all_true
                (v128.and
                  (f32x4.gt (v128.load offset=24576 (i32.shr_u (local.get $at) (i32.const 1))) (local.get $least))
                  (f32x4.gt (v128.load offset=24592 (i32.shr_u (local.get $at) (i32.const 1))) (local.get $least)))))
            (local.set $end (local.get $to))
            (br $part))))
        (local.set $least (f32x4.splat (call $min (f32x4.pmin (local.get $least) (local.get $upper))))))
      (local.set $at (i32.add (local.get $at) (i32.const 64)))
      (local.set $at (select (local.get $at) (i32.const 0) (i32.lt_u (local.get $at) (local.get $count))))
      (br_if $scales (i32.ne (local.get $at) (local.get $begin))))
    (local.set $bound (f32x4.extract_lane 0 (local.get $least)))
    (local.set $i (i32.const 0))
    (loop $next
      (f64.store offset=4096 (local.get $kept) (f64.load offset=4096 (local.get $i)))
      (local.set $kept
        (i32.add
          (local.get $kept)
          (i32.shl
            (i32.eqz
              (f32.gt (f32.load offset=24576 (i32.shr_u (local.get $i) (i32.const 1))) (local.get $bound)))
            (i32.const 3))))
      (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 8))) (local.get $count))))
    (i32.shr_u (local.get $kept) (i32.const 3))))
