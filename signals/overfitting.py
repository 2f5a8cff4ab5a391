"""How sure a Sharpe ratio is: the probabilistic and the deflated one, and the track record that it takes."""
