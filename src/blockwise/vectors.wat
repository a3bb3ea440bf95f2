;; The work of vectors.ts on a row: descent on whole vectors of a codebook, in f32. It works in the memory of descent.wat, with these
;; places of its own:
;;
;;   273408 the entries, four side by side: (entry / 4, value, entry % 4)    404480 norms: for every vector of the panel and every entry,
;;   the sum of H_jj e_j^2    928768 for every vector, the inverse of its part of H, negative    936960 the ranks of the entries
;;   953344 the eight least ranks    953376 their entries, i32: how far the first value is from that of the first entry
;;   953408 four candidates' changes of each code    953536 the sum of each    953552 eight codes    953584 half the gradient with
;;   respect to them    953616 the optimum    953648 what each code gains    953680 changes of a vector's codes for the best candidate
;;
;; Columns, and places in an eight, are in bytes. `npx tsx scripts/wasm.ts` makes vectors-wasm.ts from it.
(module
  (import "descent" "memory" (memory 16))
  (import "descent" "spread" (func $spread (param i32 i32 i32 i32 i32) (result f32)))
  (import "descent" "advance" (func $advance (param i32 i32 i32 f32)))

  (global $width (mut i32) (i32.const 0))
  (global $size (mut i32) (i32.const 0)) ;; values of an entry, 4 or 8
  (global $count (mut i32) (i32.const 0)) ;; entries, a multiple of eight
  (global $even (mut i32) (i32.const 0)) ;; whether of eight signs an even number is negative
  (global $signs (mut v128) (v128.const i32x4 0 0 0 0)) ;; the sign bits, unless entries have them
  ;; The entries that are chosen from, multiples of eight, and what the error has to change by less than.
  (global $first (mut i32) (i32.const 0))
  (global $chosen (mut i32) (i32.const 0))
  (global $most (mut f32) (f32.const 0))

  ;; Begins a panel, whose H and entries are in memory: computes the norms.
  (func (export "enter") (param $width i32) (param $size i32) (param $count i32) (param $even i32) (param $own i32)
    (local $column i32) (local $vector i32) (local $entry i32) (local $end i32) (local $norm i32) (local $sum v128) (local $four v128)
    (global.set $width (local.get $width))
    (global.set $size (local.get $size))
    (global.set $count (local.get $count))
    (global.set $even (local.get $even))
    (global.set $signs
      (select
        (v128.const i32x4 0 0 0 0)
        (v128.const f32x4 -0 -0 -0 -0)
        (local.get $own)))
    (loop $vectors
      (local.set $entry (i32.const 0))
      (loop $entries
        (local.set $sum (v128.const f32x4 0 0 0 0))
        (local.set $column (local.get $vector))
        (local.set $end (i32.add (local.get $vector) (i32.shl (local.get $size) (i32.const 2))))
        (loop $values
          (local.set $four (v128.load offset=273408 (local.get $entry)))
          (local.set $sum
            (f32x4.add
              (local.get $sum)
              (f32x4.mul
                (v128.load32_splat offset=266240 (local.get $column))
                (f32x4.mul (local.get $four) (local.get $four)))))
          (local.set $entry (i32.add (local.get $entry) (i32.const 16)))
          (br_if $values
            (i32.lt_u (local.tee $column (i32.add (local.get $column) (i32.const 4))) (local.get $end))))
        (v128.store offset=404480 (local.get $norm) (local.get $sum))
        (local.set $norm (i32.add (local.get $norm) (i32.const 16)))
        (br_if $entries
          (i32.lt_u
            (local.get $entry)
            (i32.shl (i32.mul (local.get $count) (local.get $size)) (i32.const 2)))))
      (br_if $vectors
        (i32.lt_u (local.tee $vector (local.get $end)) (i32.shl (local.get $width) (i32.const 2))))))

  ;; Sets the codes of the columns from `from` to `to`, which are numbers of columns, multiples of eight, and share a scale, to some of
  ;; `chosen` entries from `first` on. With `leave` they are not among these, and are replaced by the best of them.
  (func (export "improve")
    (param $from i32) (param $to i32) (param $scale f32) (param $first i32) (param $chosen i32) (param $leave i32)
    (global.set $first (local.get $first))
    (global.set $chosen (local.get $chosen))
    (global.set $most (select (f32.const inf) (f32.const 0) (local.get $leave)))
    (loop $eights
      (call $improveEight (i32.shl (local.get $from) (i32.const 2)) (local.get $scale))
      (br_if $eights
        (i32.lt_u (local.tee $from (i32.add (local.get $from) (i32.const 8))) (local.get $to)))))

  (func $improveEight (param $column i32) (param $scale f32)
    (local $factor v128) (local $left v128) (local $right v128) (local $from i32)
    (local.set $factor (f32x4.splat (local.get $scale)))
    (v128.store offset=953552 (i32.const 0) (v128.load offset=264192 (local.get $column)))
    (v128.store offset=953568 (i32.const 0) (v128.load offset=264208 (local.get $column)))
    (v128.store offset=953584 (i32.const 0)
      (f32x4.div (v128.load offset=262144 (local.get $column)) (local.get $factor)))
    (v128.store offset=953600 (i32.const 0)
      (f32x4.div (v128.load offset=262160 (local.get $column)) (local.get $factor)))
    (call $improveVector (local.get $column) (i32.const 0))
    (if (i32.eq (global.get $size) (i32.const 4)) (then (call $improveVector (local.get $column) (i32.const 16))))
    (if (global.get $even) (then (call $improveSigns (local.get $column))))
    (local.set $left
      (f32x4.sub (v128.load offset=953552 (i32.const 0)) (v128.load offset=264192 (local.get $column))))
    (local.set $right
      (f32x4.sub (v128.load offset=953568 (i32.const 0)) (v128.load offset=264208 (local.get $column))))
    (if (i32.eqz (v128.any_true (v128.or (local.get $left) (local.get $right)))) (then (return)))
    (v128.store offset=264192 (local.get $column) (v128.load offset=953552 (i32.const 0)))
    (v128.store offset=264208 (local.get $column) (v128.load offset=953568 (i32.const 0)))
    (v128.store offset=263168 (local.get $column) (f32x4.mul (local.get $factor) (local.get $left)))
    (v128.store offset=263184 (local.get $column) (f32x4.mul (local.get $factor) (local.get $right)))
    (local.set $from (i32.shr_u (local.get $column) (i32.const 2)))
    (drop
      (call $spread
        (local.get $from) (i32.add (local.get $from) (i32.const 8)) (global.get $width) (i32.const 0) (global.get $width)))
    (call $advance
      (local.get $from) (i32.add (local.get $from) (i32.const 8)) (global.get $width) (f32.const 1)))

  ;; Changes the `i`-th of the eight codes from a column on by `by`, and updates the slopes of these eight.
  (func $move (param $column i32) (param $i i32) (param $by f32)
    (local $row i32) (local $factor v128)
    (local.set $factor (f32x4.splat (local.get $by)))
    (local.set $row
      (i32.add
        (i32.mul (i32.add (local.get $column) (local.get $i)) (global.get $width))
        (local.get $column)))
    (f32.store offset=953552 (local.get $i)
      (f32.add (f32.load offset=953552 (local.get $i)) (local.get $by)))
    (v128.store offset=953584 (i32.const 0)
      (f32x4.add
        (v128.load offset=953584 (i32.const 0))
        (f32x4.mul (local.get $factor) (v128.load (local.get $row)))))
    (v128.store offset=953600 (i32.const 0)
      (f32x4.add
        (v128.load offset=953600 (i32.const 0))
        (f32x4.mul (local.get $factor) (v128.load offset=16 (local.get $row))))))

  ;; Sets the vector that begins at place `first` of the eight from a column on.
  (func $improveVector (param $column i32) (param $first i32)
    (local $flipped i32) (local $candidate i32) (local $lane i32) (local $i i32) (local $bytes i32)
    (local $best f32) (local $sum f32) (local $sums v128)
    (local.set $bytes (i32.shl (global.get $size) (i32.const 2)))
    (local.set $flipped (call $findOptimum (local.get $column) (local.get $first)))
    (local.set $best (global.get $most))
    (call $select
      (call $rank
        (i32.add
          (i32.mul
            (i32.div_u (i32.add (local.get $column) (local.get $first)) (global.get $size))
            (global.get $count))
          (i32.shl (global.get $first) (i32.const 2)))))
    (loop $fours
      (local.set $sums
        (call $sumsOf (local.get $candidate) (local.get $column) (local.get $first) (local.get $flipped)))
      (if (v128.any_true (f32x4.lt (local.get $sums) (f32x4.splat (local.get $best))))
        (then
          (v128.store offset=953536 (i32.const 0) (local.get $sums))
          (local.set $lane (i32.const 0))
          (loop $lanes
            (local.set $sum (f32.load offset=953536 (local.get $lane)))
            (if (f32.lt (local.get $sum) (local.get $best))
              (then
                (local.set $best (local.get $sum))
                (local.set $i (i32.const 0))
                (loop $values
                  (f32.store offset=953680 (local.get $i)
                    (f32.load offset=953408 (i32.add (i32.shl (local.get $i) (i32.const 2)) (local.get $lane))))
                  (br_if $values
                    (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 4))) (local.get $bytes))))))
            (br_if $lanes
              (i32.lt_u (local.tee $lane (i32.add (local.get $lane) (i32.const 4))) (i32.const 16))))))
      (br_if $fours
        (i32.lt_u (local.tee $candidate (i32.add (local.get $candidate) (i32.const 16))) (i32.const 32))))
    (if (f32.eq (local.get $best) (global.get $most)) (then (return)))
    (local.set $i (i32.const 0))
    (loop $values
      (local.set $sum (f32.load offset=953680 (local.get $i)))
      (if (f32.ne (local.get $sum) (f32.const 0))
        (then (call $move (local.get $column) (i32.add (local.get $first) (local.get $i)) (local.get $sum))))
      (br_if $values
        (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 4))) (local.get $bytes)))))

  ;; The optimum of a vector with all others fixed, its codes less H^-1 times half the gradient, and what each code gains by it.
  ;; Where signs are even and these are not, the weight that gains least takes the other sign. Returns whether one has it.
  (func $findOptimum (param $column i32) (param $first i32) (result i32)
    (local $at i32) (local $i i32) (local $k i32) (local $bytes i32) (local $odd i32) (local $weakest i32) (local $four v128)
    (local.set $bytes (i32.shl (global.get $size) (i32.const 2)))
    (loop $fours
      (local.set $four (v128.load offset=953552 (i32.add (local.get $first) (local.get $i))))
      (local.set $at
        (i32.add
          (i32.mul (i32.add (local.get $column) (local.get $first)) (global.get $size))
          (local.get $i)))
      (local.set $k (i32.const 0))
      (loop $values
        (local.set $four
          (f32x4.add
            (local.get $four)
            (f32x4.mul
              (v128.load32_splat offset=953584 (i32.add (local.get $first) (local.get $k)))
              (v128.load offset=928768 (local.get $at)))))
        (local.set $at (i32.add (local.get $at) (local.get $bytes)))
        (br_if $values (i32.lt_u (local.tee $k (i32.add (local.get $k) (i32.const 4))) (local.get $bytes))))
      (v128.store offset=953616 (local.get $i) (local.get $four))
      (local.set $odd
        (i32.xor
          (local.get $odd)
          (i32x4.bitmask (f32x4.lt (local.get $four) (v128.const f32x4 0 0 0 0)))))
      (v128.store offset=953648 (local.get $i)
        (f32x4.mul
          (v128.andnot (f32x4.add (local.get $four) (local.get $four)) (global.get $signs))
          (v128.load offset=266240 (i32.add (local.get $column) (i32.add (local.get $first) (local.get $i))))))
      (br_if $fours (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 16))) (local.get $bytes))))
    (if (i32.eqz (global.get $even)) (then (return (i32.const 0))))
    (if (i32.eq (global.get $size) (i32.const 4))
      (then
        (local.set $odd
          (i32.xor
            (local.get $odd)
            (i32x4.bitmask
              (f32x4.lt
                (v128.load offset=953552 (i32.xor (local.get $first) (i32.const 16)))
                (v128.const f32x4 0 0 0 0)))))))
    (if (i32.eqz (i32.and (i32.popcnt (local.get $odd)) (i32.const 1))) (then (return (i32.const 0))))
    (local.set $i (i32.const 4))
    (loop $values
      (if (f32.lt (f32.load offset=953648 (local.get $i)) (f32.load offset=953648 (local.get $weakest)))
        (then (local.set $weakest (local.get $i))))
      (br_if $values (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 4))) (local.get $bytes))))
    (f32.store offset=953648 (local.get $weakest) (f32.neg (f32.load offset=953648 (local.get $weakest))))
    (i32.const 1))

  ;; Where the first entry that is chosen from begins.
  (func $firstEntry (result i32)
    (i32.shl (i32.mul (global.get $first) (global.get $size)) (i32.const 2)))

  ;; Ranks the entries that are chosen from by the diagonal of H. Every eighth entry is of one class; returns the largest of the eight
  ;; classes' least ranks, which at least eight entries do not exceed.
  (func $rank (param $norm i32) (result f32)
    (local $a v128) (local $b v128) (local $c v128) (local $d v128) (local $e v128) (local $f v128) (local $g v128) (local $h v128)
    (local $rank v128) (local $this v128) (local $other v128) (local $at i32) (local $to i32) (local $eight i32)
    (local.set $a (v128.load32_splat offset=953648 (i32.const 0)))
    (local.set $b (v128.load32_splat offset=953652 (i32.const 0)))
    (local.set $c (v128.load32_splat offset=953656 (i32.const 0)))
    (local.set $d (v128.load32_splat offset=953660 (i32.const 0)))
    (local.set $e (v128.load32_splat offset=953664 (i32.const 0)))
    (local.set $f (v128.load32_splat offset=953668 (i32.const 0)))
    (local.set $g (v128.load32_splat offset=953672 (i32.const 0)))
    (local.set $h (v128.load32_splat offset=953676 (i32.const 0)))
    (local.set $this (f32x4.splat (f32.const inf)))
    (local.set $other (local.get $this))
    (local.set $eight (i32.eq (global.get $size) (i32.const 8)))
    (local.set $at (call $firstEntry))
    (loop $entries
      (local.set $rank
        (f32x4.sub
          (v128.load offset=404480 (i32.add (local.get $norm) (local.get $to)))
          (f32x4.add
            (f32x4.add
              (f32x4.mul (local.get $a) (v128.load offset=273408 (local.get $at)))
              (f32x4.mul (local.get $b) (v128.load offset=273424 (local.get $at))))
            (f32x4.add
              (f32x4.mul (local.get $c) (v128.load offset=273440 (local.get $at)))
              (f32x4.mul (local.get $d) (v128.load offset=273456 (local.get $at)))))))
      (local.set $at (i32.add (local.get $at) (i32.const 64)))
      (if (local.get $eight)
        (then
          (local.set $rank
            (f32x4.sub
              (local.get $rank)
              (f32x4.add
                (f32x4.add
                  (f32x4.mul (local.get $e) (v128.load offset=273408 (local.get $at)))
                  (f32x4.mul (local.get $f) (v128.load offset=273424 (local.get $at))))
                (f32x4.add
                  (f32x4.mul (local.get $g) (v128.load offset=273440 (local.get $at)))
                  (f32x4.mul (local.get $h) (v128.load offset=273456 (local.get $at)))))))
          (local.set $at (i32.add (local.get $at) (i32.const 64)))))
      (v128.store offset=936960 (local.get $to) (local.get $rank))
      (local.set $rank (f32x4.pmin (local.get $this) (local.get $rank)))
      (local.set $this (local.get $other))
      (local.set $other (local.get $rank))
      (br_if $entries
        (i32.lt_u
          (local.tee $to (i32.add (local.get $to) (i32.const 16)))
          (i32.shl (global.get $chosen) (i32.const 2)))))
    (local.set $this (f32x4.max (local.get $this) (local.get $other)))
    (f32.max
      (f32.max (f32x4.extract_lane 0 (local.get $this)) (f32x4.extract_lane 1 (local.get $this)))
      (f32.max (f32x4.extract_lane 2 (local.get $this)) (f32x4.extract_lane 3 (local.get $this)))))

  ;; Makes the eight entries of the least ranks the candidates, the least first, earlier ones before later ones of the same rank. None of
  ;; them exceeds `limit`.
  (func $select (param $limit f32)
    (local $at i32) (local $entry i32) (local $hits i32) (local $lane i32) (local $k i32) (local $rank f32) (local $four v128)
    (local.set $four (f32x4.splat (local.get $limit)))
    (local.set $entry (call $firstEntry))
    (v128.store offset=953344 (i32.const 0) (f32x4.splat (f32.const inf)))
    (v128.store offset=953360 (i32.const 0) (f32x4.splat (f32.const inf)))
    (loop $entries
      (local.set $hits (i32x4.bitmask (f32x4.le (v128.load offset=936960 (local.get $at)) (local.get $four))))
      (if (local.get $hits)
        (then
          (loop $lanes
            (local.set $lane (i32.shl (i32.ctz (local.get $hits)) (i32.const 2)))
            (local.set $rank (f32.load offset=936960 (i32.add (local.get $at) (local.get $lane))))
            (if (f32.lt (local.get $rank) (f32.load offset=953372 (i32.const 0)))
              (then
                (local.set $k (i32.const 28))
                (block $found
                  (loop $later
                    (br_if $found (i32.eqz (local.get $k)))
                    (br_if $found (f32.le (f32.load offset=953340 (local.get $k)) (local.get $rank)))
                    (f32.store offset=953344 (local.get $k) (f32.load offset=953340 (local.get $k)))
                    (i32.store offset=953376 (local.get $k) (i32.load offset=953372 (local.get $k)))
                    (local.set $k (i32.sub (local.get $k) (i32.const 4)))
                    (br $later)))
                (f32.store offset=953344 (local.get $k) (local.get $rank))
                (i32.store offset=953376 (local.get $k) (i32.add (local.get $entry) (local.get $lane)))))
            (br_if $lanes
              (local.tee $hits (i32.and (local.get $hits) (i32.sub (local.get $hits) (i32.const 1))))))))
      (local.set $entry (i32.add (local.get $entry) (i32.shl (global.get $size) (i32.const 4))))
      (br_if $entries
        (i32.lt_u
          (local.tee $at (i32.add (local.get $at) (i32.const 16)))
          (i32.shl (global.get $chosen) (i32.const 2))))))

  ;; Half of what the error changes by with four candidates, and the changes of codes, in memory. Magnitudes take the signs of the optimum;
  ;; with `flipped`, that of the weight for which it matters least is the other one.
  (func $sumsOf (param $candidate i32) (param $column i32) (param $first i32) (param $flipped i32) (result v128)
    (local $a i32) (local $b i32) (local $c i32) (local $d i32) (local $i i32) (local $j i32) (local $row i32) (local $bytes i32)
    (local $four v128) (local $cost v128) (local $less v128) (local $least v128) (local $weakest v128) (local $slope v128) (local $sum v128)
    (local.set $bytes (i32.shl (global.get $size) (i32.const 2)))
    (local.set $a (i32.load offset=953376 (local.get $candidate)))
    (local.set $b (i32.load offset=953380 (local.get $candidate)))
    (local.set $c (i32.load offset=953384 (local.get $candidate)))
    (local.set $d (i32.load offset=953388 (local.get $candidate)))
    (local.set $least (f32x4.splat (f32.const inf)))
    (local.set $weakest (i32x4.splat (i32.const -1)))
    (loop $values
      (local.set $four
        (v128.load32_lane offset=273408 3 (local.get $d)
          (v128.load32_lane offset=273408 2 (local.get $c)
            (v128.load32_lane offset=273408 1 (local.get $b)
              (v128.load32_zero offset=273408 (local.get $a))))))
      (if (local.get $flipped)
        (then
          (local.set $cost
            (f32x4.mul (local.get $four) (f32x4.abs (v128.load32_splat offset=953648 (local.get $i)))))
          (local.set $less (f32x4.lt (local.get $cost) (local.get $least)))
          (local.set $least (f32x4.pmin (local.get $least) (local.get $cost)))
          (local.set $weakest
            (v128.bitselect (i32x4.splat (local.get $i)) (local.get $weakest) (local.get $less)))))
      (v128.store offset=953408 (i32.shl (local.get $i) (i32.const 2))
        (v128.xor
          (local.get $four)
          (v128.and
            (f32x4.lt (v128.load32_splat offset=953616 (local.get $i)) (v128.const f32x4 0 0 0 0))
            (global.get $signs))))
      (local.set $a (i32.add (local.get $a) (i32.const 16)))
      (local.set $b (i32.add (local.get $b) (i32.const 16)))
      (local.set $c (i32.add (local.get $c) (i32.const 16)))
      (local.set $d (i32.add (local.get $d) (i32.const 16)))
      (br_if $values (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 4))) (local.get $bytes))))
    (local.set $i (i32.const 0))
    (loop $values
      (local.set $row
        (i32.add
          (i32.mul
            (i32.add (local.get $column) (i32.add (local.get $first) (local.get $i)))
            (global.get $width))
          (i32.add (local.get $column) (local.get $first))))
      (local.set $four
        (f32x4.sub
          (v128.xor
            (v128.load offset=953408 (i32.shl (local.get $i) (i32.const 2)))
            (v128.and
              (i32x4.eq (local.get $weakest) (i32x4.splat (local.get $i)))
              (v128.const f32x4 -0 -0 -0 -0)))
          (v128.load32_splat offset=953552 (i32.add (local.get $first) (local.get $i)))))
      (v128.store offset=953408 (i32.shl (local.get $i) (i32.const 2)) (local.get $four))
      (local.set $slope
        (f32x4.add
          (v128.load32_splat offset=953584 (i32.add (local.get $first) (local.get $i)))
          (f32x4.mul
            (f32x4.mul (local.get $four) (f32x4.splat (f32.const 0.5)))
            (v128.load32_splat (i32.add (local.get $row) (local.get $i))))))
      (local.set $j (i32.const 0))
      (block $done
        (loop $before
          (br_if $done (i32.ge_u (local.get $j) (local.get $i)))
          (local.set $slope
            (f32x4.add
              (local.get $slope)
              (f32x4.mul
                (v128.load32_splat (i32.add (local.get $row) (local.get $j)))
                (v128.load offset=953408 (i32.shl (local.get $j) (i32.const 2))))))
          (local.set $j (i32.add (local.get $j) (i32.const 4)))
          (br $before)))
      (local.set $sum (f32x4.add (local.get $sum) (f32x4.mul (local.get $four) (local.get $slope))))
      (br_if $values (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 4))) (local.get $bytes))))
    (local.get $sum))

  ;; Changes the signs of two of the eight codes from a column on at once where that lowers the error.
  (func $improveSigns (param $column i32)
    (local $i i32) (local $j i32) (local $row i32) (local $a f32) (local $b f32) (local $own f32)
    (loop $first
      (local.set $row
        (i32.add
          (i32.mul (i32.add (local.get $column) (local.get $i)) (global.get $width))
          (local.get $column)))
      (local.set $j (i32.add (local.get $i) (i32.const 4)))
      (loop $second
        (local.set $a (f32.mul (f32.const -2) (f32.load offset=953552 (local.get $i))))
        (local.set $b (f32.mul (f32.const -2) (f32.load offset=953552 (local.get $j))))
        (local.set $own
          (f32.add
            (f32.mul
              (f32.mul (local.get $a) (local.get $a))
              (f32.load offset=266240 (i32.add (local.get $column) (local.get $i))))
            (f32.mul
              (f32.mul (local.get $b) (local.get $b))
              (f32.load offset=266240 (i32.add (local.get $column) (local.get $j))))))
        (if (f32.lt
              (f32.add
                (f32.mul
                  (f32.const 2)
                  (f32.add
                    (f32.mul
                      (local.get $a)
                      (f32.add
                        (f32.load offset=953584 (local.get $i))
                        (f32.mul (local.get $b) (f32.load (i32.add (local.get $row) (local.get $j))))))
                    (f32.mul (local.get $b) (f32.load offset=953584 (local.get $j)))))
                (local.get $own))
              (f32.mul (f32.const -1e-6) (local.get $own)))
          (then
            (call $move (local.get $column) (local.get $i) (local.get $a))
            (call $move (local.get $column) (local.get $j) (local.get $b))))
        (br_if $second
          (i32.lt_u (local.tee $j (i32.add (local.get $j) (i32.const 4))) (i32.const 32))))
      (br_if $first (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 4))) (i32.const 28))))))
