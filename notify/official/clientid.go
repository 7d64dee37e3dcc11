package official

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// longestClientID is what the platform takes for client_msg_id, in characters.
const longestClientID = 32

// clientID makes the platform's id of a delivery's id, the same at every
// attempt: without dashes, and hashed where that is still too long, as the ids of
// a notice are.
func clientID(id string) string {
	if bare := strings.ReplaceAll(id, "-", ""); len(bare) <= longestClientID {
		return bare
	}
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:])[:longestClientID]
}
