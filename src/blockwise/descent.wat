;; The work of rounding and of coordinate descent on a row of a panel of up to 256 columns, four columns at a time, in f32 (panels.ts,
;; coordinates.ts). Memory, all f32:
;;
;;        0 H of the panel, (width, width), or U of rounding    262144 slopes    263168 direction
;;   264192 codes    265216 changes of weights    266240 diagonal of H    267264 H times the direction
;;   268288 unrounded optimum    271360 for each level of a table but the lowest, the middle between it and the one below and their
;;   distance    272384 a vector of codes    273408 and on: see vectors.wat, or, of four rows that are rounded, 273408 their weights,
;;   277504 scales, 281600 minimums, 285696 codes, 289792 errors, (4, 256) each, 293888 weights yet to be rounded, (256, 4)
;;
;; Widths and bounds of columns are multiples of four, but for that of `round`. `npx tsx scripts/wasm.ts` makes descent-wasm.ts from it.
(module
  (memory (export "memory") 16)

  ;; The levels nearest to four values: the integers from `lo` to `hi`, or with `steps` above 0 those of the table.
  (func $nearest (param $x v128) (param $lo f32) (param $hi f32) (param $steps i32) (result v128)
    (local $code v128) (local $at i32)
    (if (i32.eqz (local.get $steps))
      (then
        ;; The operands are in an order in which not a number stays what it is.
        (return
          (f32x4.pmin
            (f32x4.pmax
              (f32x4.floor (f32x4.add (local.get $x) (f32x4.splat (f32.const 0.5))))
              (f32x4.splat (local.get $lo)))
            (f32x4.splat (local.get $hi))))))
    (local.set $code (f32x4.splat (local.get $lo)))
    (loop $next
      (local.set $code
        (f32x4.add
          (local.get $code)
          (v128.and
            (v128.load32_splat offset=271364 (local.get $at))
            (f32x4.ge (local.get $x) (v128.load32_splat offset=271360 (local.get $at))))))
      (local.set $at (i32.add (local.get $at) (i32.const 8)))
      (br_if $next (local.tee $steps (i32.sub (local.get $steps) (i32.const 1)))))
    (local.get $code))

  (func $sum (param $four v128) (result f32)
    (f32.add
      (f32.add (f32x4.extract_lane 0 (local.get $four)) (f32x4.extract_lane 1 (local.get $four)))
      (f32.add (f32x4.extract_lane 2 (local.get $four)) (f32x4.extract_lane 3 (local.get $four)))))

  ;; slope[k] += by * H[row, k] for the `width` columns.
  (func $move (param $row i32) (param $width i32) (param $by f32)
    (local $at i32) (local $end i32) (local $slope i32) (local $factor v128)
    (local.set $factor (f32x4.splat (local.get $by)))
    (local.set $at (i32.shl (i32.mul (local.get $row) (local.get $width)) (i32.const 2)))
    (local.set $end (i32.add (local.get $at) (i32.shl (local.get $width) (i32.const 2))))
    (loop $next
      (v128.store offset=262144 (local.get $slope)
        (f32x4.add
          (v128.load offset=262144 (local.get $slope))
          (f32x4.mul (local.get $factor) (v128.load (local.get $at)))))
      (local.set $slope (i32.add (local.get $slope) (i32.const 16)))
      (br_if $next (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 16))) (local.get $end)))))

  ;; Sets the codes of the columns from `from` to `to`, one after another, each to the best level on the scale `scale`.
  (func (export "improveCodes")
    (param $from i32) (param $to i32) (param $width i32) (param $scale f32) (param $lo f32) (param $hi f32) (param $steps i32)
    (local $at i32) (local $end i32) (local $lane i32) (local $left i32) (local $code v128) (local $by f32)
    (local.set $at (i32.shl (local.get $from) (i32.const 2)))
    (local.set $end (i32.shl (local.get $to) (i32.const 2)))
    (loop $columns
      (local.set $left (i32.const 15)) ;; the lanes of these four columns that were not visited yet
      (block $done
        (loop $again
          (local.set $code
            (call $nearest
              (f32x4.sub
                (v128.load offset=264192 (local.get $at))
                (f32x4.div
                  (v128.load offset=262144 (local.get $at))
                  (f32x4.mul (v128.load offset=266240 (local.get $at)) (f32x4.splat (local.get $scale)))))
              (local.get $lo) (local.get $hi) (local.get $steps)))
          (local.set $left
            (i32.and
              (local.get $left)
              (i32x4.bitmask (f32x4.ne (local.get $code) (v128.load offset=264192 (local.get $at))))))
          (br_if $done (i32.eqz (local.get $left)))
          (v128.store offset=272384 (i32.const 0) (local.get $code))
          (local.set $lane (i32.shl (i32.ctz (local.get $left)) (i32.const 2)))
          (local.set $left (i32.and (i32.const 15) (i32.shl (i32.const -2) (i32.ctz (local.get $left)))))
          (local.set $by (f32.load offset=272384 (local.get $lane)))
          (local.set $lane (i32.add (local.get $at) (local.get $lane)))
          (local.set $by
            (f32.mul (local.get $scale) (f32.sub (local.get $by) (f32.load offset=264192 (local.get $lane)))))
          (f32.store offset=264192 (local.get $lane)
            (f32.load offset=272384 (i32.sub (local.get $lane) (local.get $at))))
          (f32.store offset=265216 (local.get $lane)
            (f32.add (f32.load offset=265216 (local.get $lane)) (local.get $by)))
          (call $move (i32.shr_u (local.get $lane) (i32.const 2)) (local.get $width) (local.get $by))
          (br_if $again (local.get $left))))
      (br_if $columns
        (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 16))) (local.get $end)))))

  ;; Sets the direction of the columns from `from` to `to`: `unit` times their codes, or `unit`. Returns half the slope along it.
  (func (export "direct") (param $from i32) (param $to i32) (param $unit f32) (param $codes i32) (result f32)
    (local $at i32) (local $end i32) (local $four v128) (local $sum v128)
    (local.set $at (i32.shl (local.get $from) (i32.const 2)))
    (local.set $end (i32.shl (local.get $to) (i32.const 2)))
    (loop $next
      (local.set $four (f32x4.splat (local.get $unit)))
      (if (local.get $codes)
        (then (local.set $four (f32x4.mul (local.get $four) (v128.load offset=264192 (local.get $at))))))
      (v128.store offset=263168 (local.get $at) (local.get $four))
      (local.set $sum
        (f32x4.add
          (local.get $sum)
          (f32x4.mul (local.get $four) (v128.load offset=262144 (local.get $at)))))
      (br_if $next (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 16))) (local.get $end))))
    (call $sum (local.get $sum)))

  ;; H times the direction of the columns from `from` to `to`, for the columns from `first` to `last`, sixteen of them (a line of the
  ;; processor's cache) or four at a time. Returns its product with the direction of these columns: the curvature, if they are the same.
  (func (export "spread")
    (param $from i32) (param $to i32) (param $width i32) (param $first i32) (param $last i32) (result f32)
    (local $column i32) (local $end i32) (local $row i32) (local $rows i32) (local $at i32) (local $stride i32)
    (local $factor v128) (local $a v128) (local $b v128) (local $c v128) (local $d v128) (local $sum v128)
    (local.set $stride (i32.shl (local.get $width) (i32.const 2)))
    (local.set $column (i32.shl (local.get $first) (i32.const 2)))
    (local.set $end (i32.shl (local.get $last) (i32.const 2)))
    (local.set $rows (i32.shl (local.get $to) (i32.const 2)))
    (block $done
      (loop $columns
        (br_if $done (i32.ge_u (local.get $column) (local.get $end)))
        (local.set $a (v128.const f32x4 0 0 0 0))
        (local.set $row (i32.shl (local.get $from) (i32.const 2)))
        (local.set $at (i32.add (local.get $column) (i32.mul (local.get $from) (local.get $stride))))
        (if (i32.ge_u (i32.sub (local.get $end) (local.get $column)) (i32.const 64))
          (then
            (local.set $b (v128.const f32x4 0 0 0 0))
            (local.set $c (v128.const f32x4 0 0 0 0))
            (local.set $d (v128.const f32x4 0 0 0 0))
            (loop $next
              (local.set $factor (v128.load32_splat offset=263168 (local.get $row)))
              (local.set $a
                (f32x4.add (local.get $a) (f32x4.mul (local.get $factor) (v128.load (local.get $at)))))
              (local.set $b
                (f32x4.add (local.get $b) (f32x4.mul (local.get $factor) (v128.load offset=16 (local.get $at)))))
              (local.set $c
                (f32x4.add (local.get $c) (f32x4.mul (local.get $factor) (v128.load offset=32 (local.get $at)))))
              (local.set $d
                (f32x4.add (local.get $d) (f32x4.mul (local.get $factor) (v128.load offset=48 (local.get $at)))))
              (local.set $at (i32.add (local.get $at) (local.get $stride)))
              (br_if $next
                (i32.lt_u (local.tee $row (i32.add (local.get $row) (i32.const 4))) (local.get $rows))))
            (v128.store offset=267264 (local.get $column) (local.get $a))
            (v128.store offset=267280 (local.get $column) (local.get $b))
            (v128.store offset=267296 (local.get $column) (local.get $c))
            (v128.store offset=267312 (local.get $column) (local.get $d))
            (local.set $sum
              (f32x4.add
                (local.get $sum)
                (f32x4.add
                  (f32x4.add
                    (f32x4.mul (local.get $a) (v128.load offset=263168 (local.get $column)))
                    (f32x4.mul (local.get $b) (v128.load offset=263184 (local.get $column))))
                  (f32x4.add
                    (f32x4.mul (local.get $c) (v128.load offset=263200 (local.get $column)))
                    (f32x4.mul (local.get $d) (v128.load offset=263216 (local.get $column)))))))
            (local.set $column (i32.add (local.get $column) (i32.const 64))))
          (else
            (loop $next
              (local.set $a
                (f32x4.add
                  (local.get $a)
                  (f32x4.mul (v128.load32_splat offset=263168 (local.get $row)) (v128.load (local.get $at)))))
              (local.set $at (i32.add (local.get $at) (local.get $stride)))
              (br_if $next
                (i32.lt_u (local.tee $row (i32.add (local.get $row) (i32.const 4))) (local.get $rows))))
            (v128.store offset=267264 (local.get $column) (local.get $a))
            (local.set $sum
              (f32x4.add
                (local.get $sum)
                (f32x4.mul (local.get $a) (v128.load offset=263168 (local.get $column)))))
            (local.set $column (i32.add (local.get $column) (i32.const 16)))))
        (br $columns)))
    (call $sum (local.get $sum)))

  ;; Goes along the direction of the columns from `from` to `to` by `by`: adds it to their changes, and H times it to all slopes.
  (func (export "advance") (param $from i32) (param $to i32) (param $width i32) (param $by f32)
    (local $at i32) (local $end i32) (local $factor v128)
    (local.set $factor (f32x4.splat (local.get $by)))
    (local.set $end (i32.shl (local.get $width) (i32.const 2)))
    (loop $next
      (v128.store offset=262144 (local.get $at)
        (f32x4.add
          (v128.load offset=262144 (local.get $at))
          (f32x4.mul (local.get $factor) (v128.load offset=267264 (local.get $at)))))
      (br_if $next (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 16))) (local.get $end))))
    (local.set $at (i32.shl (local.get $from) (i32.const 2)))
    (local.set $end (i32.shl (local.get $to) (i32.const 2)))
    (loop $next
      (v128.store offset=265216 (local.get $at)
        (f32x4.add
          (v128.load offset=265216 (local.get $at))
          (f32x4.mul (local.get $factor) (v128.load offset=263168 (local.get $at)))))
      (br_if $next (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 16))) (local.get $end)))))

  ;; The unrounded optimum of the columns from `from` to `to`, each with all others fixed: scale * code + shift - slope / H_jj.
  (func (export "findOptimum") (param $from i32) (param $to i32) (param $scale f32) (param $shift f32)
    (local $at i32) (local $end i32)
    (local.set $at (i32.shl (local.get $from) (i32.const 2)))
    (local.set $end (i32.shl (local.get $to) (i32.const 2)))
    (loop $next
      (v128.store offset=268288 (local.get $at)
        (f32x4.sub
          (f32x4.add
            (f32x4.mul (f32x4.splat (local.get $scale)) (v128.load offset=264192 (local.get $at)))
            (f32x4.splat (local.get $shift)))
          (f32x4.div (v128.load offset=262144 (local.get $at)) (v128.load offset=266240 (local.get $at)))))
      (br_if $next (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 16))) (local.get $end)))))

  ;; The values of four rows at a place of the first one.
  (func $lanes (param $at i32) (result v128)
    (v128.load32_lane offset=3072 3 (local.get $at)
      (v128.load32_lane offset=2048 2 (local.get $at)
        (v128.load32_lane offset=1024 1 (local.get $at) (v128.load32_zero (local.get $at))))))

  (func $spreadLanes (param $at i32) (param $four v128)
    (v128.store32_lane 0 (local.get $at) (local.get $four))
    (v128.store32_lane offset=1024 1 (local.get $at) (local.get $four))
    (v128.store32_lane offset=2048 2 (local.get $at) (local.get $four))
    (v128.store32_lane offset=3072 3 (local.get $at) (local.get $four)))

  ;; Rounds the weights of four rows, column after column, to their scales and minimums: codes, and errors (w_i - w'_i) / U_ii, of which
  ;; each changes the weights after it by error * U_ij. A row is 1024 bytes; a row that is not there may hold anything.
  (func (export "round") (param $width i32) (param $lo f32) (param $hi f32) (param $steps i32)
    (local $i i32) (local $end i32) (local $row i32) (local $column i32) (local $at i32) (local $left i32) (local $last i32)
    (local $w v128) (local $scale v128) (local $min v128) (local $code v128) (local $error v128)
    (local.set $end (i32.shl (local.get $width) (i32.const 2)))
    (local.set $last (i32.shl (local.get $width) (i32.const 4)))
    (loop $columns
      (v128.store offset=293888 (local.get $at) (call $lanes (i32.add (local.get $i) (i32.const 273408))))
      (local.set $at (i32.add (local.get $at) (i32.const 16)))
      (br_if $columns (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 4))) (local.get $end))))
    (local.set $i (i32.const 0))
    (loop $columns
      (local.set $w (v128.load offset=293888 (local.get $column)))
      (local.set $scale (call $lanes (i32.add (local.get $i) (i32.const 277504))))
      (local.set $min (call $lanes (i32.add (local.get $i) (i32.const 281600))))
      (local.set $code
        (call $nearest
          (v128.andnot
            (f32x4.div (f32x4.add (local.get $w) (local.get $min)) (local.get $scale))
            (f32x4.eq (local.get $scale) (v128.const f32x4 0 0 0 0)))
          (local.get $lo) (local.get $hi) (local.get $steps)))
      (local.set $error
        (f32x4.div
          (f32x4.sub (local.get $w) (f32x4.sub (f32x4.mul (local.get $scale) (local.get $code)) (local.get $min)))
          (v128.load32_splat (i32.add (local.get $row) (local.get $i)))))
      (call $spreadLanes (i32.add (local.get $i) (i32.const 285696)) (local.get $code))
      (call $spreadLanes (i32.add (local.get $i) (i32.const 289792)) (local.get $error))
      (local.set $i (i32.add (local.get $i) (i32.const 4)))
      (local.set $at (i32.add (local.get $row) (local.get $i)))
      (local.set $row (i32.add (local.get $row) (local.get $end)))
      (local.set $left (local.tee $column (i32.add (local.get $column) (i32.const 16))))
      (block $done
        (loop $two
          (br_if $done (i32.ge_u (i32.add (local.get $left) (i32.const 16)) (local.get $last)))
          (v128.store offset=293888 (local.get $left)
            (f32x4.sub
              (v128.load offset=293888 (local.get $left))
              (f32x4.mul (local.get $error) (v128.load32_splat (local.get $at)))))
          (v128.store offset=293904 (local.get $left)
            (f32x4.sub
              (v128.load offset=293904 (local.get $left))
              (f32x4.mul (local.get $error) (v128.load32_splat offset=4 (local.get $at)))))
          (local.set $at (i32.add (local.get $at) (i32.const 8)))
          (local.set $left (i32.add (local.get $left) (i32.const 32)))
          (br $two)))
      (if (i32.lt_u (local.get $left) (local.get $last))
        (then
          (v128.store offset=293888 (local.get $left)
            (f32x4.sub
              (v128.load offset=293888 (local.get $left))
              (f32x4.mul (local.get $error) (v128.load32_splat (local.get $at)))))))
      (br_if $columns (i32.lt_u (local.get $i) (local.get $end))))))
