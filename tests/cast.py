"""The people in the tests. Alice and Bob work here; Rita reads what they share; Eve is a stranger; Stella is staff."""

from django.test import Client

from chronos.core.models import User


def person(name: str, **fields: object) -> User:
    user = User(**{"username": name, "email": f"{name}@example.org", **fields})
    user.set_unusable_password()
    user.save()
    return user


def with_password(user: User, password: str = "a long and odd password") -> User:
    user.set_password(password)
    user.save()
    return user


def alice() -> User:
    return person("alice")


def bob() -> User:
    return person("bob")


def rita() -> User:
    return person("rita")


def eve() -> User:
    return person("eve")


def stella() -> User:
    return person("stella", is_staff=True, is_superuser=True)


def signed_in(user: User) -> Client:
    """A browser of this person's."""
    client = Client()
    client.force_login(user)
    return client
