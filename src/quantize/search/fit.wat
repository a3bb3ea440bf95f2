;; The errors of a group of weights on several scales and offsets, two of them at a time, each summed in the order of the weights in f64
;; (group-fit.ts). Memory, all f64:
;;
;;   0 weights    2048 their importances    4096 scales    6144 offsets    8192 errors    10240 sums of h q q    12288 of h q
;;   14336 of h q (w - o), of up to 256 each    16384 for each half step from the least level on, the level nearest to it
;;
;; `npx tsx scripts/wasm.ts` makes fit-wasm.ts from it.
(module
  (memory (export "memory") 1)

  ;; For `count` scales, an even number, and the weights from `from` to `to`. Levels are the integers from `lo` to `hi`, or those of the
  ;; table if the index `last` of its last entry is not negative.
  (func (export "fit")
    (param $count i32) (param $from i32) (param $to i32) (param $lo f64) (param $hi f64) (param $last i32)
    (local $at i32) (local $i i32) (local $index v128)
    (local $s v128) (local $o v128) (local $inverse v128) (local $x v128) (local $q v128) (local $h v128) (local $r v128)
    (local $error v128) (local $qq v128) (local $q1 v128) (local $qx v128)
    (local.set $count (i32.shl (local.get $count) (i32.const 3)))
    (local.set $from (i32.shl (local.get $from) (i32.const 3)))
    (local.set $to (i32.shl (local.get $to) (i32.const 3)))
    (loop $scales
      (local.set $s (v128.load offset=4096 (local.get $at)))
      (local.set $o (v128.load offset=6144 (local.get $at)))
      ;; 1 / scale, or 0
      (local.set $inverse
        (v128.andnot
          (f64x2.div (f64x2.splat (f64.const 1)) (local.get $s))
          (f64x2.eq (local.get $s) (f64x2.splat (f64.const 0)))))
      (local.set $error (f64x2.splat (f64.const 0)))
      (local.set $qq (f64x2.splat (f64.const 0)))
      (local.set $q1 (f64x2.splat (f64.const 0)))
      (local.set $qx (f64x2.splat (f64.const 0)))
      (local.set $i (local.get $from))
      (loop $weights
        (local.set $h (v128.load64_splat offset=2048 (local.get $i)))
        (local.set $x (f64x2.sub (v128.load64_splat (local.get $i)) (local.get $o)))
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
            (local.set $index
              (i32x4.shl
                (i32x4.min_s
                  (i32x4.max_s
                    (i32x4.trunc_sat_f64x2_s_zero
                      (f64x2.floor
                        (f64x2.mul
                          (f64x2.splat (f64.const 2))
                          (f64x2.sub (local.get $q) (f64x2.splat (local.get $lo))))))
                    (i32x4.splat (i32.const 0)))
                  (i32x4.splat (local.get $last)))
                (i32.const 3)))
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
        (br_if $weights (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 8))) (local.get $to))))
      (v128.store offset=8192 (local.get $at) (local.get $error))
      (v128.store offset=10240 (local.get $at) (local.get $qq))
      (v128.store offset=12288 (local.get $at) (local.get $q1))
      (v128.store offset=14336 (local.get $at) (local.get $qx))
      (br_if $scales (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 16))) (local.get $count))))))
