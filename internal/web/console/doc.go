// Package console serves the staff console under /console: sign-in, the queues,
// the cases and one case with its history and actions. Pages are templates under
// templates/web/console; they work without script, and htmx keeps them fresh.
//
// It decides nothing about cases: internal/desk does, and its refusals are shown
// in words. Floor 5.
package console
