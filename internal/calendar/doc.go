// Package calendar knows when a service center works and what follows from it:
// whether someone is there now, when the next person is, and when a promise
// counted in working hours falls due.
//
// A calendar is data: several periods a day, hours for public holidays, closed
// days and make-up working days. The national holidays ship as a file
// (data/cn-holidays.yaml), because the State Council announces them each autumn
// and nobody can compute them.
//
// The package reads no clock and no database; callers pass the moment they mean.
// It sits on floor 3 and imports nothing of the module.
package calendar
