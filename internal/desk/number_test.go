package desk_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"guanjia/internal/desk"
)

func number(t *rapid.T) string {
	// Lengths are drawn first, so that every length from 6 to 9 is met often.
	low := []int64{desk.FirstNumber, 100_000, 1_000_000, 10_000_000}
	i := rapid.IntRange(0, 3).Draw(t, "length")
	return desk.FormatNumber(rapid.Int64Range(low[i], low[i]*10-1).Draw(t, "n"))
}

func TestNumbersAreValid(t *testing.T) {
	t.Parallel()
	for n, digits := range map[int64]int{desk.FirstNumber: 6, 99_999: 6, 100_000: 7, 9_999_999: 8, 10_000_000: 9, desk.LastNumber: 9} {
		no := desk.FormatNumber(n)
		if len(no) != digits || !desk.ValidNo(no) {
			t.Errorf("number of %d is %s, want %d valid digits", n, no, digits)
		}
	}
	// The worked example of Damm's check: 572 has the digit 4.
	if got := desk.FormatNumber(572); got != "5724" {
		t.Errorf("check digit of 572: %s", got)
	}
}

func TestEverySlipIsFound(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		no := number(t)
		if !desk.ValidNo(no) {
			t.Fatalf("%s is not valid", no)
		}
		for i := range len(no) {
			for d := byte('0'); d <= '9'; d++ {
				wrong := no[:i] + string(d) + no[i+1:]
				if wrong != no && desk.ValidNo(wrong) {
					t.Fatalf("%s with digit %d wrong passes as %s", no, i+1, wrong)
				}
			}
			if i == 0 || no[i-1] == no[i] {
				continue
			}
			swapped := no[:i-1] + string(no[i]) + string(no[i-1]) + no[i+1:]
			if desk.ValidNo(swapped) {
				t.Fatalf("%s with neighbours swapped passes as %s", no, swapped)
			}
		}
	})
}

func TestNoNumbers(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "0", "57240", "000000", "012345", "1234567890", "１００００９", "10000a", "#100009", "100009 ", "-100009", strings.Repeat("0", 9)} {
		if desk.ValidNo(s) {
			t.Errorf("%q passes as a case number", s)
		}
	}
	if !desk.ValidNo("100009") {
		t.Error("100009 must pass, or the list above proves nothing")
	}
}
