// Package storytest lives the story of a resident's matter, from following the
// account to the rating, through the interfaces alone: the REST API, the vendors'
// protocols as the simulators speak them, and the simulators' control. It knows
// no room of the product, so the same steps run against a program in the test's
// process and against real processes that are killed between any two of them.
//
// Only tests import it.
package storytest
