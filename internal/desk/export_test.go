package desk

// Next is the life cycle for its tests.
func Next(a Action, from State) (State, bool) { return next(a, from) }

// FormatNumber makes a case number of a running number.
func FormatNumber(n int64) string { return formatNumber(n) }

// FirstNumber and LastNumber bound the running numbers.
const (
	FirstNumber = firstNumber
	LastNumber  = lastNumber
)

// ClocksEvery is how often overdue acceptances are looked for.
const ClocksEvery = clocksEvery
