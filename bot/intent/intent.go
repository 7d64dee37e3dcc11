package intent

// Input is what the classifier looks at.
type Input struct {
	// Text is the resident's message as it came.
	Text string
	// History holds earlier messages of the same resident, oldest first.
	History []string
}

// Result is the reading of one message.
type Result struct {
	// Intent is one of the Intent… codes.
	Intent string
	// Also holds further intents of a message with several matters.
	Also []string
	// Category is one of the eleven category codes, empty where none applies.
	Category string
	// Emergency says that danger is present now or must be assumed.
	Emergency bool
	// EmergencyKind is one of the Danger… codes while Emergency is true.
	EmergencyKind string
	// Danger is how probable an emergency is by the weights alone, 0 to 1.
	Danger float64
	// Topic is a soft label, empty where none fits.
	Topic string
	// Confidence runs from 0 (a guess) to 1.
	Confidence float64
	// Continues says that the message only makes sense with its history: the
	// matter was read from there.
	Continues bool
	// Emotion says that the resident is angry or distressed.
	Emotion bool
	// Insult says that the message contains insults.
	Insult bool
	Slots  Slots
}

// Slots are the values said in the message; empty or 0 where not said.
type Slots struct {
	Building string
	Entrance string
	Room     string
	Phone    string
	CaseNo   string
	Rating   int
}

// Intent codes.
const (
	IntentInquiry     = "inquiry"
	IntentComplaint   = "complaint"
	IntentRepair      = "repair"
	IntentSuggestion  = "suggestion"
	IntentHelp        = "help"
	IntentPraise      = "praise"
	IntentUrge        = "urge"
	IntentThanks      = "thanks"
	IntentGreeting    = "greeting"
	IntentFarewell    = "farewell"
	IntentGift        = "gift"
	IntentHandoff     = "handoff"
	IntentRating      = "rating"
	IntentIdentity    = "identity"
	IntentUnsubscribe = "unsubscribe"
	IntentAbuse       = "abuse"
	IntentSpam        = "spam"
	IntentChitchat    = "chitchat"
	IntentOther       = "other"
)

// Danger codes: the kinds of emergency, each with safety words of its own.
const (
	DangerLiftTrapped   = "lift_trapped"
	DangerGasLeak       = "gas_leak"
	DangerFire          = "fire"
	DangerElectric      = "electric"
	DangerFallingObject = "falling_object"
	DangerPersonDown    = "person_down"
	DangerMissing       = "missing"
	DangerWaterBurst    = "water_burst"
	DangerManhole       = "manhole"
	DangerViolence      = "violence"
	DangerGeneric       = "generic"
)
