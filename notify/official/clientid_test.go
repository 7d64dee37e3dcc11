package official

import "testing"

func TestClientID(t *testing.T) {
	t.Parallel()
	uuid := "0198f6a0-1111-7222-8333-444455556666"
	if got := clientID(uuid); got != "0198f6a0111172228333444455556666" {
		t.Errorf("id of a delivery became %s", got)
	}
	long := "0198f6a0111172228333444455556666t1000001"
	one, two := clientID(long), clientID(long[:len(long)-1]+"2")
	if len(one) != longestClientID || one == two || one != clientID(long) {
		t.Errorf("ids of a notice became %s and %s", one, two)
	}
}
