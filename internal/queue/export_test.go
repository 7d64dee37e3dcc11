package queue

import "time"

// SetGrace changes how long a reservation without a row is left alone.
func (q *Queues) SetGrace(d time.Duration) { q.grace = d }

// SetTimeout changes how long one script may take: a test on a busy machine
// must not meet ErrUnavailable.
func (q *Queues) SetTimeout(d time.Duration) { q.timeout = d }

// Keys gives the keys of every script for one company, by script.
func (q *Queues) Keys(companyID string) map[string][]string {
	it := Item{CaseID: "case", Version: 1}
	stats := []string{epochKey(companyID), countKey(companyID), waitingKey(companyID, "a"), ageKey(companyID, "a")}
	return map[string][]string{
		"push":    q.pushCall(companyID, "a", it, "b", "push").keys,
		"claim":   caseKeys(companyID, "case", "a"),
		"hold":    q.holdCall(companyID, Held{CaseID: "case", QueueID: "a"}, 0, "b", "hold").keys,
		"drop":    q.dropCall(companyID, "a", "case", "w", 1, "m")("").keys,
		"done":    caseKeys(companyID, "case", ""),
		"list":    {epochKey(companyID), waitingKey(companyID, "a")},
		"stats":   stats,
		"epoch":   {epochKey(companyID), markKey(companyID, "m"), changesKey(companyID)},
		"recount": {heldKey(companyID), countKey(companyID)},
	}
}
