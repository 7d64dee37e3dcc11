package intent

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"slices"
)

// Intents are all intent codes, in the order of the glossary.
func Intents() []string {
	return []string{
		IntentInquiry, IntentComplaint, IntentRepair, IntentSuggestion, IntentHelp, IntentPraise, IntentUrge, IntentThanks, IntentGreeting,
		IntentFarewell, IntentGift, IntentHandoff, IntentRating, IntentIdentity, IntentUnsubscribe, IntentAbuse, IntentSpam, IntentChitchat, IntentOther,
	}
}

// Categories are the eleven category codes.
func Categories() []string {
	return []string{
		"order_security", "cleaning", "greening", "customer_service", "engineering", "facilities_play", "management", "convenience",
		"special_needs", "culture", "other",
	}
}

// Topics are the topic codes.
func Topics() []string {
	return []string{
		"outage_water", "outage_power", "outage_gas", "gas_leak", "fire", "electric", "lift", "leak", "drain", "noise", "smell", "parking", "ebike",
		"fees", "renovation", "move_in", "goods_release", "access_card", "pets", "hours", "cleaning", "greening", "pest_control", "falling_object",
		"security", "staff_attitude", "lighting", "door_window", "facilities", "activity", "parcel", "vulnerable", "heating", "network", "binding",
	}
}

// Digest identifies the lexicon and the way in which messages become features:
// weights fit only what they were trained with.
func (c *Classifier) Digest() string { return c.digest }

// Trained tells what the weights were made from; ok is false without weights.
func (c *Classifier) Trained() (info ModelInfo, ok bool) {
	if c.model == nil {
		return ModelInfo{}, false
	}
	return c.model.info.ModelInfo, true
}

func digestOf(files ...fs.FS) (string, error) {
	h := sha256.New()
	fmt.Fprintf(h, "features %d\n", featureVersion)
	for _, f := range files {
		if f == nil {
			continue
		}
		names, err := fs.Glob(f, "*.yaml")
		if err != nil {
			return "", fmt.Errorf("list the lexicon: %w", err)
		}
		slices.Sort(names)
		for _, name := range names {
			raw, err := fs.ReadFile(f, name)
			if err != nil {
				return "", fmt.Errorf("read the lexicon: %w", err)
			}
			fmt.Fprintf(h, "%s %x\n", name, sha256.Sum256(raw))
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
