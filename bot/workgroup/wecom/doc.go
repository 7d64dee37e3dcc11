// Package wecom is the work group's channel by WeCom's aibot: one WebSocket a
// bot, over which members' messages and clicks come in and answers, cards and
// texts go out, and the senders that carry deliveries there (card, group) and
// by group webhook.
//
// A bot has one socket in the world: a newer subscriber throws the older one
// out. So a lease says which node keeps it (lease.go), and a node that is
// thrown out while it has the lease raises an alarm and stops fighting.
//
// What comes in is stored by its msgid before anything is done about it
// (store.go, inbox.go); what a crash left half done is picked up again. What
// goes out is held to the vendor's allowance for each chat (budget.go); when it
// runs low, one digest card stands for many.
//
// It must not know cases or rights: bot/workgroup draws cards and answers
// messages. Floor 5.
package wecom
