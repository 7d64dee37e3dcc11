// Package sample is the sample company that the demo, seed and many tests live
// in: a property company with one project, six buildings, some five hundred
// residents, its staff, queues, work groups, accounts and articles. It is the
// same every time, credentials included, so it must never be loaded into an
// installation that serves real people; `seed` refuses a database that holds a
// company.
//
// Company describes it, Load stores it, World is what the simulators are told,
// Ready is what the demo prints. Part of app (floor 6).
package sample
