// Package sandbox is the simulators of WeChat, WeCom and Aliyun SMS behind
// one listener, with the page that shows a resident's phone, a work group and
// an SMS inbox. It enforces the limits that the vendors enforce and injects
// faults on request, so that training, demo, tests and drills need no account.
//
// It runs inside `guanjia demo` or alone (`guanjia sandbox`) and is reached
// only over HTTP and WebSocket. It imports nothing of this module but
// internal/clock and knows nothing of cases, homes or queues: whatever it
// simulates is handed over by PUT /sim/world.
package sandbox
