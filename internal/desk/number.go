package desk

import (
	"strconv"
)

// Case numbers are 6 to 9 digits: a running number and one check digit
// (interfaces: "Words that always work"). The check is Damm's, which finds
// every single wrong digit and every swap of two neighbours, the two slips
// people make when they read a number over the telephone.

// firstNumber is the first running number, so that the shortest case number
// has six digits; lastNumber fills nine.
const (
	firstNumber = 10_000
	lastNumber  = 99_999_999
)

// damm is the quasigroup of order 10 from H. M. Damm's thesis (2004).
var damm = [10][10]byte{
	{0, 3, 1, 7, 5, 9, 8, 6, 4, 2},
	{7, 0, 9, 2, 1, 5, 4, 8, 6, 3},
	{4, 2, 0, 6, 8, 7, 1, 3, 5, 9},
	{1, 7, 5, 0, 9, 8, 3, 4, 2, 6},
	{6, 1, 2, 3, 0, 4, 5, 9, 7, 8},
	{3, 6, 7, 4, 2, 0, 9, 5, 8, 1},
	{5, 8, 6, 9, 7, 2, 0, 1, 3, 4},
	{8, 9, 4, 5, 3, 6, 2, 0, 1, 7},
	{9, 4, 3, 8, 6, 1, 7, 2, 0, 5},
	{2, 5, 8, 1, 4, 3, 6, 7, 9, 0},
}

// formatNumber turns a running number into a case number.
func formatNumber(n int64) string {
	digits := strconv.FormatInt(n, 10)
	return digits + string('0'+dammOf(digits))
}

// ValidNo tells whether s is 6 to 9 digits with a right check digit.
func ValidNo(s string) bool {
	if len(s) < 6 || len(s) > 9 || s[0] == '0' {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return dammOf(s) == 0
}

func dammOf(digits string) byte {
	var interim byte
	for i := range len(digits) {
		interim = damm[interim][digits[i]-'0']
	}
	return interim
}
