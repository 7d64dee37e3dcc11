// Package api is the REST interface under /api/v1: what the console does, for
// programs, with a bearer token. It turns requests into calls of the rooms
// below and their answers and refusals into JSON; it decides nothing itself.
//
// Errors are {"error":{"code","message","field"}} with a fitting status; what
// is unexpected is logged and answered as "internal" without details. Floor 5.
package api
