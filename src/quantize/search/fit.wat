;; The work of the search for scales on a unit of up to 256 weights (group-fit.ts): sums over the weights of a group, in f64 and in their
;; order, and bounds of such sums in f32, by which most scales are ruled out. Memory, f64 unless it says f32:
;;
;;        0 weights      2048 their importances    4096 scales    6144 offsets, and for each of these the
;;     8192 error       10240 sum of h q q        12288 sum of h q           14336 sum of h q (w - o), of up to 256 each
;;    16384 for each half step from the least level on, the level nearest to it    20480 the same in f32
;;    22528 weights in f32    23552 importances in f32, of mean 1    24576 least the error of a scale can be, in f32
;;    25600 by group: sum of h    26112 of h w    26624 of |w|    27136 least w    27648 greatest w    28160 greatest |w| of all
;;    28672 least errors of starts    28928 their scales    29184 their offsets
;;    29440 by group: bytes of large weights in f32, in i32
;;    32768 weights as they come, in f32    49152 their importances, in f32    65536 their codes, in f32
;;
;; Bounds of weights are even numbers. Levels are the integers from `lo` to `hi`, or those of the table if the index `last` of its last
;; entry is not negative. `npx tsx scripts/wasm.ts` makes fit-wasm.ts from it.
(module
  (memory (export "memory") 2)

  ;; Takes `count` weights and importances from those that came, from index `at` on.
  (func (export "take") (param $at i32) (param $count i32) (local $i i32)
    (local.set $at (i32.shl (local.get $at) (i32.const 2)))
    (local.set $count (i32.shl (local.get $count) (i32.const 3)))
    (loop $next
      (v128.store (local.get $i) (f64x2.promote_low_f32x4 (v128.load64_zero offset=32768 (local.get $at))))
      (v128.store offset=2048 (local.get $i) (f64x2.promote_low_f32x4 (v128.load64_zero offset=49152 (local.get $at))))
      (local.set $at (i32.add (local.get $at) (i32.const 8)))
      (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 16))) (local.get $count)))))

  ;; The sums and extremes of a group, without regard to weights of less than `negligible` of the mean importance, and its copy in f32, in
  ;; which large weights come first, with their size in bytes.
  (func (export "load") (param $g i32) (param $from i32) (param $to i32) (param $negligible f64)
    (local $i i32) (local $size f64) (local $h1 f64) (local $w1 f64) (local $sum f64) (local $least v128)
    (local $w v128) (local $h v128) (local $low v128) (local $high v128) (local $skip v128) (local $peak f64) (local $large f64)
    (local $first i32) (local $second i32) (local $at i32) (local $isLarge i32) (local $scale f64) (local $value f64)
    (local.set $size (f64.convert_i32_s (i32.sub (local.get $to) (local.get $from))))
    (local.set $g (i32.shl (local.get $g) (i32.const 3)))
    (local.set $from (i32.shl (local.get $from) (i32.const 3)))
    (local.set $to (i32.shl (local.get $to) (i32.const 3)))
    (local.set $i (local.get $from))
    (loop $next
      (local.set $h1 (f64.add (local.get $h1) (f64.load offset=2048 (local.get $i))))
      (local.set $w1
        (f64.add (local.get $w1) (f64.mul (f64.load offset=2048 (local.get $i)) (f64.load (local.get $i)))))
      (local.set $peak (f64.max (local.get $peak) (f64.abs (f64.load (local.get $i)))))
      (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 8))) (local.get $to))))
    (f64.store offset=25600 (local.get $g) (local.get $h1))
    (f64.store offset=26112 (local.get $g) (local.get $w1))
    (local.set $least (f64x2.splat (f64.div (f64.mul (local.get $negligible) (local.get $h1)) (local.get $size))))
    (local.set $scale (f64.div (local.get $size) (local.get $h1)))
    (local.set $low (f64x2.splat (f64.const inf)))
    (local.set $high (f64x2.splat (f64.const -inf)))
    (local.set $i (local.get $from))
    (loop $next
      (local.set $w (v128.load (local.get $i)))
      (local.set $h (v128.load offset=2048 (local.get $i)))
      (local.set $skip (f64x2.lt (local.get $h) (local.get $least)))
      (local.set $low
        (f64x2.pmin (local.get $low)
          (v128.bitselect (f64x2.splat (f64.const inf)) (local.get $w) (local.get $skip))))
      (local.set $high
        (f64x2.pmax (local.get $high)
          (v128.bitselect (f64x2.splat (f64.const -inf)) (local.get $w) (local.get $skip))))
      (local.set $w (v128.andnot (f64x2.abs (local.get $w)) (local.get $skip)))
      (local.set $sum (f64.add (local.get $sum) (f64x2.extract_lane 0 (local.get $w))))
      (local.set $sum (f64.add (local.get $sum) (f64x2.extract_lane 1 (local.get $w))))
      (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 16))) (local.get $to))))
    (f64.store offset=26624 (local.get $g) (local.get $sum))
    (f64.store offset=27136 (local.get $g)
      (f64.min (f64x2.extract_lane 0 (local.get $low)) (f64x2.extract_lane 1 (local.get $low))))
    (f64.store offset=27648 (local.get $g)
      (f64.max (f64x2.extract_lane 0 (local.get $high)) (f64x2.extract_lane 1 (local.get $high))))
    (f64.store offset=28160 (local.get $g) (local.get $peak))
    ;; The copy, from both ends.
    (local.set $large (f64.mul (local.get $peak) (f64.const 0.47)))
    (local.set $first (i32.shr_u (local.get $from) (i32.const 1)))
    (local.set $second (i32.sub (i32.shr_u (local.get $to) (i32.const 1)) (i32.const 4)))
    (local.set $i (local.get $from))
    (loop $next
      (local.set $value (f64.load (local.get $i)))
      (local.set $isLarge (f64.ge (f64.abs (local.get $value)) (local.get $large)))
      (local.set $at (select (local.get $first) (local.get $second) (local.get $isLarge)))
      (f32.store offset=22528 (local.get $at) (f32.demote_f64 (local.get $value)))
      (f32.store offset=23552 (local.get $at)
        (f32.demote_f64 (f64.mul (f64.load offset=2048 (local.get $i)) (local.get $scale))))
      (local.set $first (i32.add (local.get $first) (i32.shl (local.get $isLarge) (i32.const 2))))
      (local.set $second (i32.sub (local.get $second) (i32.shl (i32.eqz (local.get $isLarge)) (i32.const 2))))
      (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 8))) (local.get $to))))
    (i32.store offset=29440 (i32.shr_u (local.get $g) (i32.const 1))
      (i32.sub (local.get $first) (i32.shr_u (local.get $from) (i32.const 1)))))

  ;; `before` plus the error of the codes that came, from index `at` on, for the weights from `from` to `to`.
  (func (export "errorOf")
    (param $before f64) (param $at i32) (param $from i32) (param $to i32) (param $s f64) (param $o f64) (result f64)
    (local $r v128) (local $scale v128) (local $offset v128)
    (local.set $scale (f64x2.splat (local.get $s)))
    (local.set $offset (f64x2.splat (local.get $o)))
    (local.set $at (i32.shl (local.get $at) (i32.const 2)))
    (local.set $from (i32.shl (local.get $from) (i32.const 3)))
    (local.set $to (i32.shl (local.get $to) (i32.const 3)))
    (loop $next
      (local.set $r
        (f64x2.sub
          (f64x2.sub (v128.load (local.get $from)) (local.get $offset))
          (f64x2.mul (local.get $scale) (f64x2.promote_low_f32x4 (v128.load64_zero offset=65536 (local.get $at))))))
      (local.set $r (f64x2.mul (f64x2.mul (v128.load offset=2048 (local.get $from)) (local.get $r)) (local.get $r)))
      (local.set $before (f64.add (local.get $before) (f64x2.extract_lane 0 (local.get $r))))
      (local.set $before (f64.add (local.get $before) (f64x2.extract_lane 1 (local.get $r))))
      (local.set $at (i32.add (local.get $at) (i32.const 8)))
      (br_if $next (i32.lt_u (local.tee $from (i32.add (local.get $from) (i32.const 16))) (local.get $to))))
    (local.get $before))

  ;; Writes the codes of the weights from `from` to `to` for a scale other than 0 and an offset, from index `at` on.
  (func (export "encode")
    (param $at i32) (param $from i32) (param $to i32) (param $s f64) (param $o f64)
    (param $lo f64) (param $hi f64) (param $last i32)
    (local $q v128) (local $index v128) (local $scale v128) (local $offset v128)
    (local.set $scale (f64x2.splat (local.get $s)))
    (local.set $offset (f64x2.splat (local.get $o)))
    (local.set $at (i32.shl (local.get $at) (i32.const 2)))
    (local.set $from (i32.shl (local.get $from) (i32.const 3)))
    (local.set $to (i32.shl (local.get $to) (i32.const 3)))
    (loop $next
      (local.set $q (f64x2.div (f64x2.sub (v128.load (local.get $from)) (local.get $offset)) (local.get $scale)))
      (if (i32.lt_s (local.get $last) (i32.const 0))
        (then
          (local.set $q
            (f64x2.pmin
              (f64x2.pmax
                (f64x2.floor (f64x2.add (local.get $q) (f64x2.splat (f64.const 0.5))))
                (f64x2.splat (local.get $lo)))
              (f64x2.splat (local.get $hi)))))
        (else
          (local.set $index (call $indices (local.get $q) (local.get $lo) (local.get $last)))
          (local.set $q
            (v128.load64_lane offset=16384 1
              (i32x4.extract_lane 1 (local.get $index))
              (v128.load64_zero offset=16384 (i32x4.extract_lane 0 (local.get $index)))))))
      (v128.store64_lane offset=65536 0 (local.get $at) (f32x4.demote_f64x2_zero (local.get $q)))
      (local.set $at (i32.add (local.get $at) (i32.const 8)))
      (br_if $next (i32.lt_u (local.tee $from (i32.add (local.get $from) (i32.const 16))) (local.get $to)))))

  ;; Where the table has the levels nearest to two values, in bytes.
  (func $indices (param $x v128) (param $lo f64) (param $last i32) (result v128)
    (i32x4.shl
      (i32x4.min_s
        (i32x4.max_s
          (i32x4.trunc_sat_f64x2_s_zero
            (f64x2.sub
              (f64x2.floor (f64x2.add (local.get $x) (local.get $x)))
              (f64x2.splat (f64.add (local.get $lo) (local.get $lo)))))
          (i32x4.splat (i32.const 0)))
        (i32x4.splat (local.get $last)))
      (i32.const 3)))

  ;; The error for one scale and offset, with the sums of index 0: two weights at a time.
  (func (export "fitOne")
    (param $s f64) (param $o f64) (param $from i32) (param $to i32) (param $lo f64) (param $hi f64) (param $last i32) (result f64)
    (local $index v128) (local $scale v128) (local $offset v128) (local $inverse v128) (local $x v128) (local $q v128) (local $h v128)
    (local $r v128) (local $both v128) (local $sums v128)
    (local.set $scale (f64x2.splat (local.get $s)))
    (local.set $offset (f64x2.splat (local.get $o)))
    (local.set $inverse
      (f64x2.splat
        (select
          (f64.const 0)
          (f64.div (f64.const 1) (local.get $s))
          (f64.eq (local.get $s) (f64.const 0)))))
    (local.set $from (i32.shl (local.get $from) (i32.const 3)))
    (local.set $to (i32.shl (local.get $to) (i32.const 3)))
    (loop $weights
      (local.set $h (v128.load offset=2048 (local.get $from)))
      (local.set $x (f64x2.sub (v128.load (local.get $from)) (local.get $offset)))
      (local.set $q (f64x2.mul (local.get $x) (local.get $inverse)))
      (if (i32.lt_s (local.get $last) (i32.const 0))
        (then
          (local.set $q
            (f64x2.pmin
              (f64x2.pmax
                (f64x2.floor (f64x2.add (local.get $q) (f64x2.splat (f64.const 0.5))))
                (f64x2.splat (local.get $lo)))
              (f64x2.splat (local.get $hi)))))
        (else
          (local.set $index (call $indices (local.get $q) (local.get $lo) (local.get $last)))
          (local.set $q
            (v128.load64_lane offset=16384 1
              (i32x4.extract_lane 1 (local.get $index))
              (v128.load64_zero offset=16384 (i32x4.extract_lane 0 (local.get $index)))))))
      (local.set $r (f64x2.sub (local.get $x) (f64x2.mul (local.get $scale) (local.get $q))))
      (local.set $r (f64x2.mul (f64x2.mul (local.get $h) (local.get $r)) (local.get $r)))
      (local.set $h (f64x2.mul (local.get $h) (local.get $q)))
      (local.set $q (f64x2.mul (local.get $h) (local.get $q)))
      (local.set $x (f64x2.mul (local.get $h) (local.get $x)))
      ;; Lanes are the error and the sum of h q q, and the sums of h q and h q (w - o).
      (local.set $both
        (f64x2.add
          (f64x2.add
            (local.get $both)
            (i8x16.shuffle 0 1 2 3 4 5 6 7 16 17 18 19 20 21 22 23 (local.get $r) (local.get $q)))
          (i8x16.shuffle 8 9 10 11 12 13 14 15 24 25 26 27 28 29 30 31 (local.get $r) (local.get $q))))
      (local.set $sums
        (f64x2.add
          (f64x2.add
            (local.get $sums)
            (i8x16.shuffle 0 1 2 3 4 5 6 7 16 17 18 19 20 21 22 23 (local.get $h) (local.get $x)))
          (i8x16.shuffle 8 9 10 11 12 13 14 15 24 25 26 27 28 29 30 31 (local.get $h) (local.get $x))))
      (br_if $weights (i32.lt_u (local.tee $from (i32.add (local.get $from) (i32.const 16))) (local.get $to))))
    (v128.store64_lane offset=10240 1 (i32.const 0) (local.get $both))
    (v128.store64_lane offset=12288 0 (i32.const 0) (local.get $sums))
    (v128.store64_lane offset=14336 1 (i32.const 0) (local.get $sums))
    (f64x2.extract_lane 0 (local.get $both)))

  ;; The errors and sums for the two scales and offsets at byte `at`.
  (func $pair (param $at i32) (param $from i32) (param $to i32) (param $lo f64) (param $hi f64) (param $last i32)
    (local $index v128) (local $s v128) (local $o v128) (local $inverse v128) (local $x v128) (local $q v128) (local $h v128)
    (local $r v128) (local $error v128) (local $qq v128) (local $q1 v128) (local $qx v128)
    (local.set $s (v128.load offset=4096 (local.get $at)))
    (local.set $o (v128.load offset=6144 (local.get $at)))
    ;; 1 / scale, or 0
    (local.set $inverse
      (v128.andnot
        (f64x2.div (f64x2.splat (f64.const 1)) (local.get $s))
        (f64x2.eq (local.get $s) (f64x2.splat (f64.const 0)))))
    (local.set $from (i32.shl (local.get $from) (i32.const 3)))
    (local.set $to (i32.shl (local.get $to) (i32.const 3)))
    (loop $weights
      (local.set $h (v128.load64_splat offset=2048 (local.get $from)))
      (local.set $x (f64x2.sub (v128.load64_splat (local.get $from)) (local.get $o)))
      (local.set $q (f64x2.mul (local.get $x) (local.get $inverse)))
      (if (i32.lt_s (local.get $last) (i32.const 0))
        (then
          ;; The operands are in an order in which not a number stays what it is.
          (local.set $q
            (f64x2.pmin
              (f64x2.pmax
                (f64x2.floor (f64x2.add (local.get $q) (f64x2.splat (f64.const 0.5))))
                (f64x2.splat (local.get $lo)))
              (f64x2.splat (local.get $hi)))))
        (else
          (local.set $index (call $indices (local.get $q) (local.get $lo) (local.get $last)))
          (local.set $q
            (v128.load64_lane offset=16384 1
              (i32x4.extract_lane 1 (local.get $index))
              (v128.load64_zero offset=16384 (i32x4.extract_lane 0 (local.get $index)))))))
      (local.set $r (f64x2.sub (local.get $x) (f64x2.mul (local.get $s) (local.get $q))))
      (local.set $error
        (f64x2.add (local.get $error) (f64x2.mul (f64x2.mul (local.get $h) (local.get $r)) (local.get $r))))
      (local.set $h (f64x2.mul (local.get $h) (local.get $q)))
      (local.set $qq (f64x2.add (local.get $qq) (f64x2.mul (local.get $h) (local.get $q))))
      (local.set $q1 (f64x2.add (local.get $q1) (local.get $h)))
      (local.set $qx (f64x2.add (local.get $qx) (f64x2.mul (local.get $h) (local.get $x))))
      (br_if $weights (i32.lt_u (local.tee $from (i32.add (local.get $from) (i32.const 8))) (local.get $to))))
    (v128.store offset=8192 (local.get $at) (local.get $error))
    (v128.store offset=10240 (local.get $at) (local.get $qq))
    (v128.store offset=12288 (local.get $at) (local.get $q1))
    (v128.store offset=14336 (local.get $at) (local.get $qx)))

  ;; The errors and sums for the first `count` scales and offsets, an even number.
  (func (export "fit")
    (param $count i32) (param $from i32) (param $to i32) (param $lo f64) (param $hi f64) (param $last i32) (local $at i32)
    (local.set $count (i32.shl (local.get $count) (i32.const 3)))
    (loop $scales
      (call $pair (local.get $at) (local.get $from) (local.get $to) (local.get $lo) (local.get $hi) (local.get $last))
      (br_if $scales (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 16))) (local.get $count)))))

  ;; From each of the first `count` scales and offsets, codes and least squares of both in turns, `rounds` times or for as long as the
  ;; error falls; the least errors, their scales and offsets are written. `count` is an even number, at most 32.
  (func (export "fitBoth")
    (param $count i32) (param $rounds i32) (param $h1 f64) (param $w1 f64)
    (param $from i32) (param $to i32) (param $lo f64) (param $hi f64) (param $last i32)
    (local $at i32) (local $round i32) (local $live v128) (local $h v128) (local $w v128) (local $d v128)
    (local $least v128) (local $s v128) (local $o v128) (local $error v128) (local $qq v128) (local $q1 v128)
    (local.set $h (f64x2.splat (local.get $h1)))
    (local.set $w (f64x2.splat (local.get $w1)))
    (local.set $count (i32.shl (local.get $count) (i32.const 3)))
    (loop $starts
      (local.set $live (i32x4.splat (i32.const -1)))
      (local.set $least (f64x2.splat (f64.const inf)))
      (local.set $s (f64x2.splat (f64.const 0)))
      (local.set $o (f64x2.splat (f64.const 0)))
      (local.set $round (i32.const 0))
      (loop $next
        (call $pair (local.get $at) (local.get $from) (local.get $to) (local.get $lo) (local.get $hi) (local.get $last))
        (local.set $error (v128.load offset=8192 (local.get $at)))
        (local.set $qq (v128.load offset=10240 (local.get $at)))
        (local.set $q1 (v128.load offset=12288 (local.get $at)))
        (local.set $live (v128.and (local.get $live) (f64x2.lt (local.get $error) (local.get $least))))
        (local.set $least (v128.bitselect (local.get $error) (local.get $least) (local.get $live)))
        (local.set $s (v128.bitselect (v128.load offset=4096 (local.get $at)) (local.get $s) (local.get $live)))
        (local.set $o (v128.bitselect (v128.load offset=6144 (local.get $at)) (local.get $o) (local.get $live)))
        (local.set $d
          (f64x2.sub
            (f64x2.mul (local.get $qq) (local.get $h))
            (f64x2.mul (local.get $q1) (local.get $q1))))
        (local.set $live
          (v128.and (local.get $live)
            (f64x2.gt (local.get $d)
              (f64x2.mul (f64x2.mul (f64x2.splat (f64.const 1e-12)) (local.get $qq)) (local.get $h)))))
        ;; The next scales and offsets.
        (local.set $d
          (f64x2.div
            (f64x2.sub
              (f64x2.mul (local.get $h)
                (f64x2.add
                  (v128.load offset=14336 (local.get $at))
                  (f64x2.mul (v128.load offset=6144 (local.get $at)) (local.get $q1))))
              (f64x2.mul (local.get $q1) (local.get $w)))
            (local.get $d)))
        (v128.store offset=4096 (local.get $at) (local.get $d))
        (v128.store offset=6144 (local.get $at)
          (f64x2.div (f64x2.sub (local.get $w) (f64x2.mul (local.get $d) (local.get $q1))) (local.get $h)))
        (local.set $round (i32.add (local.get $round) (i32.const 1)))
        (br_if $next
          (i32.and (i32.lt_s (local.get $round) (local.get $rounds)) (v128.any_true (local.get $live)))))
      (v128.store offset=28672 (local.get $at) (local.get $least))
      (v128.store offset=28928 (local.get $at) (local.get $s))
      (v128.store offset=29184 (local.get $at) (local.get $o))
      (br_if $starts (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 16))) (local.get $count))))))
