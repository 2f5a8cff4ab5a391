"""Tiny cases of the engine, each a table that one can follow with a finger. `test_candle_tables.py` runs them.

    # what the case shows
    cash=2000 stop_loss=0.05                     terms other than cash 1000, whole lots, all of it, long only, no costs
    100 101  99 100 long                         open high low close, then what is decided on the completed bar
    100 102  98 101
    = 10 1@100 2@95 stop_loss                    quantity (below 0: short), entry bar@price, exit bar@price, reason
    = equity 950                                 at the end; of the rest (ambiguous, resolved, fees …) what is not 0

Decisions: `long`, `short`, `out` (leaves either), `out-long`, `out-short`, `stop=97`. Of a bar: `split=2`, `div=1`.
`100 | 50` puts assets beside each other, `-` is no bar. A line that begins with `.` is a finer candle of the bar above.
`~` in place of `=`: the optimistic bound, where it differs. A trade's entry that is still held: `10 1@100 open@101`.
All expected figures are worked out by hand from the conventions that `signals.engine` states.
"""

DECISIONS = """
# A decision on a completed bar is done at the next open
100 101  99 100 long
102 103 101 102
103 104 102 103 out
105 106 104 105
= 9 1@102 3@105 signal
= equity 1027

# A decision on the last bar is never done
100 101  99 100
100 101  99 100 long
= equity 1000

# An exit on the last bar leaves the position open
100 101  99 100 long
100 101  99 100
110 111 109 110 out
= 10 1@100 open@110
= equity 1100

# An exit with nothing held does nothing, then or later
100 101  99 100 out
100 101  99 100 long
100 101  99 100
100 101  99 103
= 10 2@100 open@103
= equity 1030

# A second entry in the same direction adds nothing
100 101  99 100 long
100 101  99 100 long
110 111 109 110 out
120 121 119 120
= 10 1@100 3@120 signal
= equity 1200

# A new entry after an exit takes what the account has become
100 101  99 100 long
100 101  99 100 out
120 121 119 120 long
120 121 119 120 out
130 131 129 130
= 10 1@100 2@120 signal
= 10 3@120 4@130 signal
= equity 1300

# An entry on the bar after the exit's decision is filled one bar after the exit
100 101  99 100 long
100 101  99 100 out
110 111 109 110 long
100 101  99 100
= 10 1@100 2@110 signal
= 11 3@100 open@100
= equity 1100

# An exit of shorts leaves a long alone
100 101  99 100 long
100 101  99 100 out-short
110 111 109 110
= 10 1@100 open@110
= equity 1100

# An exit of longs leaves a long
100 101  99 100 long
100 101  99 100 out-long
110 111 109 110
= 10 1@100 2@110 signal
= equity 1100

# Short: sold at the next open, bought back at a later one
direction=short
100 101  99 100 short
100 101  99 100
 90  91  89  90 out
 80  81  79  80
= -10 1@100 3@80 signal
= equity 1200

# A short that loses
direction=short
100 101  99 100 short
100 101  99 100 out-short
110 111 109 110
= -10 1@100 2@110 signal
= equity 900

# Long only: a short entry neither enters nor leaves
100 101  99 100 long
100 101  99 100 short
110 111 109 110
= 10 1@100 open@110
= equity 1100

# Short only: a long entry neither enters nor leaves
direction=short
100 101  99 100 short
100 101  99 100 long
110 111 109 110
= -10 1@100 open@110
= equity 900

# Both: an entry against the position turns it at one open
direction=both
100 101  99 100 long
100 101  99 100
110 111 109 110 short
120 121 119 120
120 121 119 118
= 10 1@100 3@120 reversal
= -10 3@120 open@118
= equity 1220

# Both: from short to long
direction=both
100 101  99 100 short
100 101  99 100 long
 80  81  79  80
 90  91  89  90
= -10 1@100 2@80 reversal
= 15 2@80 open@90
= equity 1350

# Bars of the trade itself make its worst and best price; of the last one only the fill counts
100 101  99 100 long
100 104  97 102
102 107  98 103 out
101 130  50 101
= 10 1@100 3@101 signal mae=-0.03 mfe=0.07 profit=10
= equity 1010

# A fill can itself be the worst price of a trade
100 101  99 100 long
100 104  97 102 out
 90  91  89  90
= 10 1@100 2@90 signal mae=-0.10 mfe=0.04
= equity 900

# The worst price of a short is its highest
direction=short
100 101  99 100 short
100 104  97 102 out
101 102 100 101
= -10 1@100 2@101 signal mae=-0.04 mfe=0.03 profit=-10
= equity 990
"""

STOPS = """
# A stop that the bar just touches fills at its price
stop_loss=0.05
100 101  99 100 long
100 101  98 100
100 101  95  99
= 10 1@100 2@95 stop_loss profit=-50 risk=50 mae=-0.05
= equity 950

# A low just above the stop leaves it
stop_loss=0.05
100 101  99 100 long
100 101  98 100
100 101  95.01 99
= 10 1@100 open@99 risk=50
= equity 990

# The bar of the entry can stop it
stop_loss=0.05
100 101  99 100 long
100 101  94  97
 97  98  96  97
= 10 1@100 1@95 stop_loss
= equity 950

# A gap through the stop fills at the open
stop_loss=0.05
100 101  99 100 long
100 101  98 100
 90  91  89  90
= 10 1@100 2@90 stop_loss mae=-0.10
= equity 900

# An open at the stop fills there
stop_loss=0.05
100 101  99 100 long
100 101  98 100
 95  99  94  98
= 10 1@100 2@95 stop_loss
= equity 950

# The stop of a short lies above
stop_loss=0.05 direction=short
100 101  99 100 short
100 104  99 101
101 105 100 104
= -10 1@100 2@105 stop_loss risk=50
= equity 950

# A short gaps through its stop
stop_loss=0.05 direction=short
100 101  99 100 short
100 104  99 101
112 113 100 104
= -10 1@100 2@112 stop_loss
= equity 880

# What was decided comes before a stop at the same open
stop_loss=0.05
100 101  99 100 long
100 101  98 100 out
 90  91  89  90
= 10 1@100 2@90 signal
= equity 900

# A long decision on the bar of the stop enters again at the next open
stop_loss=0.05
100 101  99 100 long
100 101  94  96 long
100 101  99 101
= 10 1@100 1@95 stop_loss
= 9 2@100 open@101
= equity 959

# The strategy's own stop goes before the fraction
stop_loss=0.05
100 101  99 100 long stop=97
100 101  98  99
 99 100  96  98
= 10 1@100 2@97 stop_loss risk=30
= equity 970

# The strategy's own stop may be the wider one
stop_loss=0.05
100 101  99 100 long stop=90
100 101  94  99
 99 100  89  98
= 10 1@100 2@90 stop_loss risk=100
= equity 900

# An entry without a stop of its own takes the fraction
stop_loss=0.05
100 101  99 100 long stop=97
100 101  98  99 out
100 101  99 100 long
100 101  96  99
= 10 1@100 2@100 signal
= 10 3@100 open@99
= equity 990

# The strategy's own stop needs no other
100 101  99 100 long stop=97
100 101  98  99
 99 100  96  98
= 10 1@100 2@97 stop_loss
= equity 970

# The stop of a short, from the strategy
direction=short
100 101  99 100 short stop=103
100 102  98  99
 99 104  96  98
= -10 1@100 2@103 stop_loss risk=30
= equity 970

# An open beyond the strategy's own stop is entered and left at once
100 101  99 100 long stop=97
 96 101  95  99
 99 100  96  98
= 10 1@96 1@96 stop_loss
= equity 1000

# A stop is measured from the fill
stop_loss=0.05 lot=0
100 101  99 100 long
200 201 191 200
200 201 190 200
= 5 1@200 2@190 stop_loss
= equity 950
"""

TARGETS = """
# A target fills at its price
take_profit_1=0.1
100 101  99 100 long
100 109  99 105
105 110 104 106
= 10 1@100 2@110 take_profit_1 mfe=0.10
= equity 1100

# The bar of the entry can reach the target
take_profit_1=0.1
100 101  99 100 long
100 115  99 105
= 10 1@100 1@110 take_profit_1
= equity 1100

# A gap over the target fills at the open
take_profit_1=0.1
100 101  99 100 long
100 109  99 105
115 116 114 115
= 10 1@100 2@115 take_profit_1
= equity 1150

# Two targets: half at the first, the rest at the second
take_profit_1=0.05 take_profit_2=0.1
100 101  99 100 long
100 104  99 103
103 106 102 105
105 112 104 111
= 5 1@100 2@105 take_profit_1
= 5 1@100 3@110 take_profit_2
= equity 1075

# Two targets in one bar
take_profit_1=0.05 take_profit_2=0.1
100 101  99 100 long
100 112  99 103
= 5 1@100 1@105 take_profit_1
= 5 1@100 1@110 take_profit_2
= equity 1075

# A gap over the first target only: the second at its price
take_profit_1=0.05 take_profit_2=0.1
100 101  99 100 long
100 104  99 103
107 112 106 111
= 5 1@100 2@107 take_profit_1
= 5 1@100 2@110 take_profit_2
= equity 1085

# A gap over both targets
take_profit_1=0.05 take_profit_2=0.1
100 101  99 100 long
100 104  99 103
113 114 112 113
= 5 1@100 2@113 take_profit_1
= 5 1@100 2@113 take_profit_2
= equity 1130

# After the first target the stop takes the rest
take_profit_1=0.05 take_profit_2=0.1 stop_loss=0.05
100 101  99 100 long
100 106  99 103
103 104  94  95
= 5 1@100 1@105 take_profit_1 risk=25
= 5 1@100 2@95 stop_loss risk=25
= equity 1000

# After the first target the strategy leaves the rest
take_profit_1=0.05 take_profit_2=0.1
100 101  99 100 long
100 106  99 103 out
102 103 101 102
= 5 1@100 1@105 take_profit_1
= 5 1@100 2@102 signal
= equity 1035

# An open at the first target comes before anything inside the bar, so the stop of the rest is no riddle
take_profit_1=0.05 take_profit_2=0.1 stop_loss=0.05
100 101  99 100 long
100 104  99 103
106 107  94  95
= 5 1@100 2@106 take_profit_1
= 5 1@100 2@95 stop_loss
= equity 1005

# Three tenths of ten
take_profit_1=0.05 take_profit_2=0.1 take_profit_1_share=0.3
100 101  99 100 long
100 106  99 103
103 111 102 110
= 3 1@100 1@105 take_profit_1
= 7 1@100 2@110 take_profit_2
= equity 1085

# A part is whole lots, rounded down
take_profit_1=0.05 take_profit_2=0.1 take_profit_1_share=0.25
100 101  99 100 long
100 106  99 103
= 2 1@100 1@105 take_profit_1
= 8 1@100 open@103
= equity 1034

# A part is one lot at least
take_profit_1=0.05 take_profit_2=0.1 take_profit_1_share=0.01
100 101  99 100 long
100 106  99 103
= 1 1@100 1@105 take_profit_1
= 9 1@100 open@103
= equity 1032

# One share can't be halved: the first target closes it
cash=100 take_profit_1=0.05 take_profit_2=0.1
100 101  99 100 long
100 106  99 103
103 112 102 110
= 1 1@100 1@105 take_profit_1
= equity 105

# Fractional lots are halved as they are
lot=0 take_profit_1=0.05 take_profit_2=0.1
 80  81  79  80 long
 80  85  79  82
 82  89  81  88
= 6.25 1@80 1@84 take_profit_1
= 6.25 1@80 2@88 take_profit_2
= equity 1075

# Lots of a tenth
lot=0.1 take_profit_1=0.1 take_profit_2=0.2
 30  31  29  30 long
 30  34  29  32
 32  37  31  36
= 16.6 1@30 1@33 take_profit_1
= 16.7 1@30 2@36 take_profit_2
= equity 1150

# All of very many lots is all of them
cash=8785010.1 lot=0.1 take_profit_1=0.5
1 1.1 0.9 1 long
1 1.6 0.9 1
= 8785010.1 1@1 1@1.5 take_profit_1
= equity 13177515.15

# The whole at the first target leaves nothing to the second
take_profit_1=0.05 take_profit_2=0.1 take_profit_1_share=1
100 101  99 100 long
100 112  99 103
= 10 1@100 1@105 take_profit_1
= equity 1050

# A share of the first target without a second: the rest stays, and the target is used up
take_profit_1=0.05 take_profit_1_share=0.5
100 101  99 100 long
100 106  99 103
103 120 102 110
= 5 1@100 1@105 take_profit_1
= 5 1@100 open@110
= equity 1075

# Targets of a short lie below
direction=short take_profit_1=0.05 take_profit_2=0.1
100 101  99 100 short
100 101  94  96
 96  97  89  91
= -5 1@100 1@95 take_profit_1
= -5 1@100 2@90 take_profit_2
= equity 1075

# A short gaps over its target
direction=short take_profit_1=0.05
100 101  99 100 short
100 101  96  96
 90  97  89  91
= -10 1@100 2@90 take_profit_1
= equity 1100

# After the first target a position still turns
direction=both take_profit_1=0.05 take_profit_2=0.5
100 101  99 100 long
100 106  99 103 short
102.5 103 102 100
= 5 1@100 1@105 take_profit_1
= 5 1@100 2@102.5 reversal
= -10 2@102.5 open@100
= equity 1062.5
"""

TRAILING = """
# A trailing stop begins at the entry
trailing_stop=0.1
100 101  99 100 long
100 100  99 100
100 100  89  95
= 10 1@100 2@90 trailing_stop risk=100
= equity 900

# It is there from the bar of the entry on
trailing_stop=0.1
100 101  99 100 long
100 100  89  95
= 10 1@100 1@90 trailing_stop
= equity 900

# It follows the best price of completed bars
trailing_stop=0.1
100 101  99 100 long
100 120  99 118
118 119 107 110
= 10 1@100 2@108 trailing_stop
= equity 1080

# A bar is not stopped by the level that its own high makes
trailing_stop=0.1
100 101  99 100 long
100 120  99 118
118 130 110 125
125 126 116 120
= 10 1@100 3@117 trailing_stop
= equity 1170

# It never moves back
trailing_stop=0.1
100 101  99 100 long
100 120 110 112
112 113 109 110
110 111 108.5 109
109 110 107 108
= 10 1@100 4@108 trailing_stop
= equity 1080

# A gap through it fills at the open
trailing_stop=0.1
100 101  99 100 long
100 120  99 118
100 101  99 100
= 10 1@100 2@100 trailing_stop
= equity 1000

# A tighter stop-loss goes first
trailing_stop=0.1 stop_loss=0.03
100 101  99 100 long
100 101  96  98
= 10 1@100 1@97 stop_loss risk=30
= equity 970

# When it has passed the stop-loss it is the stop
trailing_stop=0.1 stop_loss=0.05
100 101  99 100 long
100 110  99 108
108 109  98 100
= 10 1@100 2@99 trailing_stop risk=50
= equity 990

# The strategy's own stop holds until it is passed
trailing_stop=0.1
100 101  99 100 long stop=95
100 104  99 103
103 104  94 100
= 10 1@100 2@95 stop_loss risk=50
= equity 950

# That of a short comes down
trailing_stop=0.1 direction=short
100 101  99 100 short
100 101  80  82
 82  89  81  85
= -10 1@100 2@88 trailing_stop
= equity 1120

# It goes on for the rest after the first target
trailing_stop=0.1 take_profit_1=0.1 take_profit_1_share=0.5
100 101  99 100 long
100 120  99 118
118 119 107 110
= 5 1@100 1@110 take_profit_1
= 5 1@100 2@108 trailing_stop
= equity 1090
"""

RIDDLES = """
# Stop and target in one bar: the stop, or with luck the target
stop_loss=0.05 take_profit_1=0.05
100 101  99 100 long
100 106  94 100
= 10 1@100 1@95 stop_loss ambiguous
= equity 950 ambiguous 1
~ 10 1@100 1@105 take_profit_1 ambiguous
~ equity 1050 ambiguous 1

# The same of a short
stop_loss=0.05 take_profit_1=0.05 direction=short
100 101  99 100 short
100 106  94 100
= -10 1@100 1@105 stop_loss ambiguous
= equity 950 ambiguous 1
~ -10 1@100 1@95 take_profit_1 ambiguous
~ equity 1050 ambiguous 1

# Stop and two targets: all at the stop, or half at each target
stop_loss=0.05 take_profit_1=0.05 take_profit_2=0.1
100 101  99 100 long
100 111  94 100
= 10 1@100 1@95 stop_loss ambiguous
= equity 950 ambiguous 1
~ 5 1@100 1@105 take_profit_1 ambiguous
~ 5 1@100 1@110 take_profit_2 ambiguous
~ equity 1075 ambiguous 2

# Stop and the first of two targets: with luck the target first and the rest at the stop
stop_loss=0.05 take_profit_1=0.05 take_profit_2=0.1
100 101  99 100 long
100 106  94 100
= 10 1@100 1@95 stop_loss ambiguous
= equity 950 ambiguous 1
~ 5 1@100 1@105 take_profit_1 ambiguous
~ 5 1@100 1@95 stop_loss ambiguous
~ equity 1000 ambiguous 2

# Stop and second target in one bar, after the first
stop_loss=0.05 take_profit_1=0.05 take_profit_2=0.1
100 101  99 100 long
100 106  99 103
103 111  94 100
= 5 1@100 1@105 take_profit_1
= 5 1@100 2@95 stop_loss ambiguous
= equity 1000 ambiguous 1
~ 5 1@100 1@105 take_profit_1
~ 5 1@100 2@110 take_profit_2 ambiguous
~ equity 1075 ambiguous 1

# Trailing stop and target in one bar
trailing_stop=0.1 take_profit_1=0.2
100 101  99 100 long
100 110  99 108
108 121  98 100
= 10 1@100 2@99 trailing_stop ambiguous
= equity 990 ambiguous 1
~ 10 1@100 2@120 take_profit_1 ambiguous
~ equity 1200 ambiguous 1

# An open beyond the target is no riddle
stop_loss=0.05 take_profit_1=0.05
100 101  99 100 long
100 101  99 100
106 107  94 100
= 10 1@100 2@106 take_profit_1
= equity 1060

# An open beyond the stop is no riddle
stop_loss=0.05 take_profit_1=0.05
100 101  99 100 long
100 101  99 100
 94 107  93 100
= 10 1@100 2@94 stop_loss
= equity 940

# A stop alone is no riddle, whatever the close
stop_loss=0.05 take_profit_1=0.05
100 101  99 100 long
100 104  94 104
= 10 1@100 1@95 stop_loss
= equity 950

# What was done after the open order: an exit at the open spares the riddle
stop_loss=0.05 take_profit_1=0.05
100 101  99 100 long
100 101  99 100 out
101 107  94 100
= 10 1@100 2@101 signal
= equity 1010

# Two riddles are counted twice
stop_loss=0.05 take_profit_1=0.05
100 101  99 100 long
100 106  94 100 long
100 106  94 100
= 10 1@100 1@95 stop_loss ambiguous
= 9 2@100 2@95 stop_loss ambiguous
= equity 905 ambiguous 2
~ 10 1@100 1@105 take_profit_1 ambiguous
~ 10 2@100 2@105 take_profit_1 ambiguous
~ equity 1100 ambiguous 2

# Finer candles: the target was first
stop_loss=0.05 take_profit_1=0.05
100 101  99 100 long
100 106  94 100
. 100 106  99 103
. 103 104  94 100
= 10 1@100 1@105 take_profit_1
= equity 1050 resolved 1

# Finer candles: the stop was first
stop_loss=0.05 take_profit_1=0.05
100 101  99 100 long
100 106  94 100
. 100 101  94  98
.  98 106  97 100
= 10 1@100 1@95 stop_loss
= equity 950 resolved 1

# Finer candles of a short: the target was first
stop_loss=0.05 take_profit_1=0.05 direction=short
100 101  99 100 short
100 106  94 100
. 100 101  94  98
.  98 106  97 100
= -10 1@100 1@95 take_profit_1
= equity 1050 resolved 1

# A finer candle that holds both is a riddle again
stop_loss=0.05 take_profit_1=0.05
100 101  99 100 long
100 106  94 100
. 100 102  99 101
. 101 106  94 100
= 10 1@100 1@95 stop_loss ambiguous
= equity 950 ambiguous 1
~ 10 1@100 1@105 take_profit_1 ambiguous
~ equity 1050 ambiguous 1

# Finer candles that reach neither decide nothing
stop_loss=0.05 take_profit_1=0.05
100 101  99 100 long
100 106  94 100
. 100 102  99 101
= 10 1@100 1@95 stop_loss ambiguous
= equity 950 ambiguous 1
~ 10 1@100 1@105 take_profit_1 ambiguous
~ equity 1050 ambiguous 1

# A finer candle that opens beyond the stop fills there
stop_loss=0.05 take_profit_1=0.05
100 101  99 100 long
100 106  92 100
. 100 102  99 101
.  93 106  92 100
= 10 1@100 1@93 stop_loss
= equity 930 resolved 1

# Finer candles: the first target, and then the second
stop_loss=0.05 take_profit_1=0.05 take_profit_2=0.1
100 101  99 100 long
100 111  94 100
. 100 106  99 105
. 105 111 104 110
. 110 110  94 100
= 5 1@100 1@105 take_profit_1
= 5 1@100 1@110 take_profit_2
= equity 1075 resolved 2

# Finer candles: the first target, and then the stop
stop_loss=0.05 take_profit_1=0.05 take_profit_2=0.1
100 101  99 100 long
100 111  94 100
. 100 106  99 105
. 105 106  94  95
.  95 111  95 100
= 5 1@100 1@105 take_profit_1
= 5 1@100 1@95 stop_loss
= equity 1000 resolved 2

# Finer candles: the first target is known, what came then is not
stop_loss=0.05 take_profit_1=0.05 take_profit_2=0.1
100 101  99 100 long
100 111  94 100
. 100 106  99 105
. 105 111  94 100
= 5 1@100 1@105 take_profit_1
= 5 1@100 1@95 stop_loss ambiguous
= equity 1000 ambiguous 1 resolved 1
~ 5 1@100 1@105 take_profit_1
~ 5 1@100 1@110 take_profit_2 ambiguous
~ equity 1075 ambiguous 1 resolved 1

# Where there is no riddle finer candles are not asked
stop_loss=0.05 take_profit_1=0.05
100 101  99 100 long
100 104  94 100
. 100 104  99 101
.  93  94  92  93
= 10 1@100 1@95 stop_loss
= equity 950
"""

TIME = """
# One bar: in at an open, out at the next
max_bars=1
100 101  99 100 long
101 102 100 101
102 103 101 102
103 104 102 103
= 9 1@101 2@102 max_bars
= equity 1009

# Three bars, counted with that of the entry
max_bars=3
100 101  99 100 long
100 102 100 101
102 103 101 102
103 104 102 103
104 105 103 104
105 106 104 105
= 10 1@100 4@104 max_bars
= equity 1040

# A stop before the time is up
max_bars=3 stop_loss=0.05
100 101  99 100 long
100 101  99 101
100 101  94 102
103 104 102 103
104 105 103 104
= 10 1@100 2@95 stop_loss
= equity 950

# Time counts anew for each position
max_bars=2
100 101  99 100 long
100 101  99 100 out
101 102 100 101 long
100 101  99 100
102 103 101 102
103 104 102 103
= 10 1@100 2@101 signal
= 10 3@100 5@103 max_bars
= equity 1040

# A reversal needs no more time
direction=both max_bars=2
100 101  99 100 long
100 101  99 100 short
100 101  99 100
 90  91  89  90
 80  81  79  80
= 10 1@100 2@100 reversal
= -10 2@100 4@80 max_bars
= equity 1200

# The rest after a first target has its time from the entry
max_bars=2 take_profit_1=0.05 take_profit_2=0.5
100 101  99 100 long
100 101  99 100
100 106  99 103
102 103 101 102
= 5 1@100 2@105 take_profit_1
= 5 1@100 3@102 max_bars
= equity 1035

# Sold at the open of the last bar
close_at_end
100 101  99 100 long
100 101  99 100
110 111 109 110
105 111 101 108
= 10 1@100 3@105 end
= equity 1050

# Nothing is entered on the last bar
close_at_end
100 101  99 100
100 101  99 100 long
110 111 109 110
= equity 1000

# Entered on the bar before the last
close_at_end
100 101  99 100
100 101  99 100 long
110 111 109 110
120 121 119 120
= 9 2@110 3@120 end
= equity 1090

# A short is bought back
close_at_end direction=short
100 101  99 100 short
100 101  99 100
 90  91  89  95
= -10 1@100 2@90 end
= equity 1100

# The end of an asset that ends earlier is its own
close_at_end sizing=fraction:0.5
100 101 99 100 long | 50 51 49 50 long
100 101 99 100      | 50 51 49 50
110 111 109 110     | 60 61 59 60
120 121 119 120     | -
= 1: 10 1@50 2@60 end
= 0: 5 1@100 3@120 end
= equity 1200
"""

COSTS = """
# A rate on both sides
cash=1015 fee_rate=0.01
100 101  99 100 long
100 101  99 100 out
110 111 109 110
= 10 1@100 2@110 signal fees=21 profit=79
= equity 1094 fees 21

# A least fee on both sides
fee_minimum=5
100 101  99 100 long
100 101  99 100 out
110 111 109 110
= 9 1@100 2@110 signal fees=10 profit=80
= equity 1080 fees 10

# The least fee where the rate gives less, the rate where it gives more
fee_rate=0.01 fee_minimum=5 sizing=amount:410
100 101  99 100 long
100 101  99 100 out
200 201 199 200
= 4 1@100 2@200 signal fees=13 profit=387
= equity 1387 fees 13

# Each part pays its own exit and its share of the entry
cash=1001 fee_minimum=1 take_profit_1=0.05 take_profit_2=0.1
100 101  99 100 long
100 106  99 103
103 111 102 110
= 5 1@100 1@105 take_profit_1 fees=1.5 profit=23.5
= 5 1@100 2@110 take_profit_2 fees=1.5 profit=48.5
= equity 1073 fees 3

# Uneven parts share the entry's fee by quantity
cash=1010 fee_rate=0.01 take_profit_1=0.05 take_profit_2=0.1 take_profit_1_share=0.2 lot=0.5
100 101  99 100 long
100 106  99 103
103 111 102 110
= 2 1@100 1@105 take_profit_1 fees=4.1 profit=5.9
= 8 1@100 2@110 take_profit_2 fees=16.8 profit=63.2
= equity 1079.1 fees 20.9

# Costs belong to what is bought: nine, where ten would do without
fee_rate=0.01
100 101  99 100 long
100 101  99 100
= 9 1@100 open@100 fees=9
= equity 991 fees 9

# A short pays on both sides
cash=1015 fee_rate=0.01 direction=short
100 101  99 100 short
100 101  99 100 out
 90  91  89  90
= -10 1@100 2@90 signal fees=19 profit=81
= equity 1096 fees 19

# Too little money for one share
100 101  99 100 long
1001 1002 1000 1001
= equity 1000

# A least fee that nothing is left after
fee_minimum=1000
100 101  99 100 long
100 101  99 100
= equity 1000

# Fractions take the account to nothing, costs included
lot=0 fee_rate=0.25
100 101  99 100 long
100 101  99 100
= 8 1@100 open@100 fees=200
= equity 800 fees 200

# Market orders fill worse on both sides
slippage_bps=100
100 101  99 100 long
100 101  99 100 out
110 111 109 110
= 9 1@101 2@108.9 signal
= equity 1071.1

# Those of a short too
slippage_bps=100 direction=short
100 101  99 100 short
100 101  99 100 out
 90  91  89  90
= -10 1@99 2@90.9 signal
= equity 1081

# A target fills at its price, counted from the fill of the entry
slippage_bps=100 take_profit_1=0.1
100 101  99 100 long
100 111  99 110
110 112 109 110
= 9 1@101 2@111.1 take_profit_1
= equity 1090.9

# A stop fills worse than its price
slippage_bps=100 stop_loss=0.05
100 101  99 100 long
100 101  95  98
= 9 1@101 1@94.9905 stop_loss
= equity 945.9145

# So does a stop that the open has passed
slippage_bps=100 stop_loss=0.05
100 101  99 100 long
100 101  98 100
 90  91  89  90
= 9 1@101 2@89.1 stop_loss
= equity 892.9

# So does the end of time
slippage_bps=100 max_bars=1
100 101  99 100 long
100 101  99 100
110 111 109 110
= 9 1@101 2@108.9 max_bars
= equity 1071.1

# Slippage and fees: the fee is on the fill
slippage_bps=100 fee_rate=0.01
100 101  99 100 long
100 101  99 100 out
100 101  99 100
= 9 1@101 2@99 signal fees=18 profit=-36
= equity 964 fees 18
"""

SIZES = """
# Half of the account
sizing=fraction:0.5
100 101  99 100 long
100 101  99 100 out
140 141 139 140 long
100 101  99 100
= 5 1@100 2@140 signal
= 6 3@100 open@100
= equity 1200

# A fixed amount
sizing=amount:350
100 101  99 100 long
100 101  99 100
110 111 109 110
= 3 1@100 open@110
= equity 1030

# An amount beyond the account is cut to it
sizing=amount:5000
100 101  99 100 long
100 101  99 100
= 10 1@100 open@100
= equity 1000

# An amount is with its costs
sizing=amount:305 fee_rate=0.01
100 101  99 100 long
100 101  99 100
= 3 1@100 open@100 fees=3
= equity 997 fees 3

# One per cent at risk, five per cent away
sizing=risk:0.01 stop_loss=0.05
100 101  99 100 long
100 101  94 100
= 2 1@100 1@95 stop_loss profit=-10 risk=10
= equity 990

# Risk never buys more than the account pays
sizing=risk:0.1 stop_loss=0.05
100 101  99 100 long
100 101  99 100
= 10 1@100 open@100 risk=50
= equity 1000

# Risk to the strategy's own stop
sizing=risk:0.02
100 101  99 100 long stop=96
100 101  95 100
= 5 1@100 1@96 stop_loss profit=-20 risk=20
= equity 980

# Risk to the trailing stop
sizing=risk:0.01 trailing_stop=0.05
100 101  99 100 long
100 100  94 100
= 2 1@100 1@95 trailing_stop profit=-10 risk=10
= equity 990

# Risk to the tighter of stop-loss and trailing stop
sizing=risk:0.01 trailing_stop=0.05 stop_loss=0.1
100 101  99 100 long
100 100  94 100
= 2 1@100 1@95 trailing_stop profit=-10 risk=10
= equity 990

# Risk of a short
sizing=risk:0.01 stop_loss=0.05 direction=short
100 101  99 100 short
100 106  99 100
= -2 1@100 1@105 stop_loss profit=-10 risk=10
= equity 990

# Risk in fractions
sizing=risk:0.01 stop_loss=0.04 lot=0
100 101  99 100 long
100 101  95 100
= 2.5 1@100 1@96 stop_loss profit=-10
= equity 990

# Risk without a stop enters nothing
sizing=risk:0.01
100 101  99 100 long
100 101  99 100 long stop=95
100 101  99 100
= 2 2@100 open@100
= equity 1000

# Round lots of a hundred
lot=100
9 10 8 9 long
9 10 8 9
= 100 1@9 open@9
= equity 1000

# A tenth goes into one ten times
cash=1 lot=0.1
1 1.1 0.9 1 long
1 1.1 0.9 1
= 1 1@1 open@1
= equity 1

# Three tenths are three tenths
cash=30 lot=0.1
100 101  99 100 long
100 101  99 100
= 0.3 1@100 open@100
= equity 30
"""

ACTIONS = """
# A split multiplies what is held
100 101  99 100 long
100 101  99 100
 50  51  49  50 split=2
 55  56  54  55 out
 55  56  54  55
= 20 1@50 4@55 signal profit=100
= equity 1100

# The stop goes with it
stop_loss=0.1
100 101  99 100 long
100 101  99 100
 50  51  49  50 split=2
 50  51  44  50
= 20 1@50 3@45 stop_loss risk=100
= equity 900

# The targets go with it, and a part is a part of the new whole
take_profit_1=0.1 take_profit_2=0.2
100 101  99 100 long
100 101  99 100
 50  51  49  50 split=2
 50  56  49  55
 55  61  54  60
= 10 1@50 3@55 take_profit_1
= 10 1@50 4@60 take_profit_2
= equity 1150

# The trailing stop goes with it
trailing_stop=0.1
100 101  99 100 long
100 120  99 118
 59  59  55  58 split=2
 58  58  53  55
= 20 1@50 3@54 trailing_stop
= equity 1080

# A reverse split
100 101  99 100 long
100 101  99 100
1000 1010 990 1000 split=0.1
1100 1110 1090 1100
= 1 1@1000 open@1100
= equity 1100

# A reverse split may leave parts of a share, which are sold as they are
100 101  99 100 long
100 101  99 100
400 410 390 400 split=0.25 out
500 510 490 500
= 2.5 1@400 3@500 signal
= equity 1250

# The split of a short
direction=short stop_loss=0.1
100 101  99 100 short
100 101  99 100
 50  51  49  50 split=2
 50  56  49  54
= -20 1@50 3@55 stop_loss
= equity 900

# Who enters at the open of a split buys new shares
100 101  99 100 long
 50  51  49  50 split=2
 51  52  50  51
= 20 1@50 open@51
= equity 1020

# A stop that was decided before a split is divided by it
100 101  99 100 long stop=90
 50  51  49  50 split=2
 50  51  44  50
= 20 1@50 2@45 stop_loss
= equity 900

# An exit at the open of a split sells the new shares
100 101  99 100 long
100 101  99 100 out
 50  51  49  50 split=2
= 20 1@50 2@50 signal profit=0
= equity 1000

# Worst and best price are in the shares of the exit's day
100 101  99 100 long
100 104  98 100
 50  51  49  50 split=2 out
 50  51  49  50
= 20 1@50 3@50 signal mae=-0.02 mfe=0.04
= equity 1000

# A long gets the dividend
100 101  99 100 long
100 101  99 100
 98  99  97  98 div=2
 98  99  97  98 out
 99 100  98  99
= 10 1@100 4@99 signal dividends=20 profit=10
= equity 1010 dividends 20

# A short pays it
direction=short
100 101  99 100 short
100 101  99 100
 98  99  97  98 div=2 out
 97  98  96  97
= -10 1@100 3@97 signal dividends=-20 profit=10
= equity 1010 dividends -20

# Who enters on its day does not get it
100 101  99 100 long
 98  99  97  98 div=2
 99 100  98  99
= 10 1@98 open@99
= equity 1010

# Who leaves at the open of its day held over, and gets it
100 101  99 100 long
100 101  99 100 out
 98  99  97  98 div=2
= 10 1@100 2@98 signal dividends=20 profit=0
= equity 1000 dividends 20

# A dividend is of the shares after the split of its day
100 101  99 100 long
100 101  99 100
 50  51  49  50 split=2 div=1
= 20 1@50 open@50 dividends=20
= equity 1020 dividends 20

# Parts share what was paid before them
take_profit_1=0.05 take_profit_2=0.5
100 101  99 100 long
100 101  99 100
 98  99  97  98 div=2
 98 106  97 100
100 101  99 100 div=2
= 5 1@100 3@105 take_profit_1 dividends=10 profit=35
= 5 1@100 open@100 dividends=20
= equity 1055 dividends 30

# A dividend is money for the next entry at the same open
sizing=fraction:0.5
100 101 99 100 long  | 100 101 99 100
100 101 99 100       | 100 101 99 100 long
100 101 99 100 div=4 | 102 103 101 102
= 0: 5 1@100 open@100 dividends=20
= 1: 5 2@102 open@102
= equity 1020 dividends 20
"""

SHARED = """
# An asset without a bar waits: its decision is done at its next open
sizing=fraction:0.5
100 101 99 100 | 50 51 49 50 long
100 101 99 100 | -
100 101 99 100 | -
100 101 99 100 | 55 56 54 55
100 101 99 100 | 56 57 55 56
= 1: 9 3@55 open@56
= equity 1009

# Without a bar a position is marked at its last close
sizing=fraction:0.5
100 101 99 100 | 50 51 49 50 long
100 101 99 100 | 50 51 49 52
100 101 99 100 | -
= 1: 10 1@50 open@52
= equity 1020

# An exit waits as well
sizing=fraction:0.5
100 101 99 100 | 50 51 49 50 long
100 101 99 100 | 50 51 49 52 out
100 101 99 100 | -
100 101 99 100 | 40 41 39 40
= 1: 10 1@50 3@40 signal
= equity 900

# Bars that an asset has not do not count as time
sizing=fraction:0.5 max_bars=2
100 101 99 100 | 50 51 49 50 long
100 101 99 100 | 50 51 49 50
100 101 99 100 | -
100 101 99 100 | 50 51 49 50
100 101 99 100 | 60 61 59 60
= 1: 10 1@50 4@60 max_bars
= equity 1100

# Two assets get equal budgets, of the equity before both
sizing=fraction:0.5
100 101 99 100 long | 50 51 49 50 long
100 101 99 100      | 50 51 49 50
110 111 109 110     | 60 61 59 60
= 0: 5 1@100 open@110
= 1: 10 1@50 open@60
= equity 1150

# The first in order takes all, and nothing is left
100 101 99 100 long | 50 51 49 50 long
100 101 99 100      | 50 51 49 50
110 111 109 110     | 60 61 59 60
= 0: 10 1@100 open@110
= equity 1100

# Nothing is left in fractions, too, though a rounding leaves a ten-million-millionth
lot=0 fee_rate=0.25
22 23 21 22 long | 50 51 49 50 long
22 23 21 22      | 50 51 49 50
= 0: 36.36363636363636 1@22 open@22
= equity 800 fees 200

# The third of three gets what is left
sizing=fraction:0.4
100 101 99 100 long | 50 51 49 50 long | 20 21 19 20 long
100 101 99 100      | 50 51 49 50      | 20 21 19 20
110 111 109 110     | 60 61 59 60      | 30 31 29 30
= 0: 4 1@100 open@110
= 1: 8 1@50 open@60
= 2: 10 1@20 open@30
= equity 1220

# Exits of all assets come before entries: the later asset pays for the earlier one
100 101 99 100      | 50 51 49 50 long
100 101 99 100 long | 50 51 49 50 out
100 101 99 100      | 50 51 49 50
110 111 109 110     | 60 61 59 60
= 1: 20 1@50 2@50 signal
= 0: 10 2@100 open@110
= equity 1100

# What is held counts at the open of the fill
sizing=fraction:0.25
100 101 99 100 long | 50 51 49 50
100 101 99 100      | 50 51 49 50 long
300 301 299 300     | 50 51 49 50
= 0: 2 1@100 open@300
= 1: 7 2@50 open@50
= equity 1400

# What has no bar that day counts at its last close
sizing=fraction:0.25
100 101 99 100 long | 50 51 49 50
100 101 99 200      | 50 51 49 50 long
-                   | 50 51 49 50
= 0: 2 1@100 open@200
= 1: 6 2@50 open@50
= equity 1200

# A short uses the account as a long does
direction=both sizing=fraction:0.7
100 101 99 100 short | 50 51 49 50 long
100 101 99 100       | 50 51 49 50
 90  91 89  90       | 60 61 59 60
= 0: -7 1@100 open@90
= 1: 6 1@50 open@60
= equity 1130

# Costs of one entry are not there for the next
sizing=fraction:0.6 fee_rate=0.1
100 101 99 100 long | 10 11 9 10 long
100 101 99 100      | 10 11 9 10
= 0: 5 1@100 open@100 fees=50
= 1: 40 1@10 open@10 fees=40
= equity 910 fees 90

# Positions are numbered in the order of their entries
sizing=fraction:0.5
100 101 99 100      | 50 51 49 50 long
100 101 99 100 long | 50 51 49 50
100 101 99 100 out  | 50 51 49 50 out
110 111 109 110     | 60 61 59 60
= 0: 5 2@100 3@110 signal position=1
= 1: 10 1@50 3@60 signal position=0
= equity 1150

# A short that costs more than there is ruins the account, and nothing is entered after
direction=both
100 101  99 100 short
100 101  99 100
200 215 199 210 long
100 101  99 100 long
100 101  99 100
= -10 1@100 2@210 ruin
= equity -100 ruined

# A short that costs exactly what there is
direction=short
100 101  99 100 short
100 101  99 100
199 201 198 200
100 101  99 100
= -10 1@100 2@200 ruin
= equity 0 ruined

# In ruin everything is sold at the last close, also what has no bar that day
direction=both sizing=fraction:0.5
100 101 99 100 short | 50 51 49 50 long
100 101 99 100       | 50 51 49 50
400 401 399 400      | -
100 101 99 100       | 60 61 59 60
= 0: -5 1@100 2@400 ruin
= 1: 10 1@50 2@50 ruin
= equity -500 ruined

# A high that would ruin, in a bar that closes well, does not
direction=short
100 101  99 100 short
100 101  99 100
101 300 100 102
= -10 1@100 open@102 mae=-2
= equity 980
"""
